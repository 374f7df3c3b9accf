package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"nixfleet/agent/client"
	"nixfleet/fleet"
	"nixfleet/trust"
	"nixfleet/wire"
)

// callTimeout bounds every call but the poll.
const callTimeout = 10 * time.Second

// Failures to get through are tried again between these, with full jitter: a fleet whose control plane comes back
// must not come back at once.
const (
	backoffMin = time.Second
	backoffMax = 5 * time.Minute
	// identityRetry is the wait after 401 and 403: only a person, or a renewed certificate, changes those.
	identityRetry = 5 * time.Minute
)

// answerError is an answer that is not the one hoped for. It says how long to wait.
type answerError struct {
	path       string
	status     int
	reason     string
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	return fmt.Sprintf("agent: %s answered %d %s", e.path, e.status, e.reason)
}

// identity says whether the answer is about who we are.
func (e *answerError) identity() bool {
	return e.status == http.StatusUnauthorized || e.status == http.StatusForbidden
}

func problem(path string, answer client.Answer) *answerError {
	e := &answerError{path: path, status: answer.Status, retryAfter: answer.RetryAfter}
	if p, err := wire.DecodeProblem(answer.Body); err == nil {
		e.reason = p.Error
	}
	return e
}

// call makes one call and wants 200 or 204. What is wrong with our identity is shown as degraded until it is not.
func (a *Agent) call(ctx context.Context, r client.Request) (client.Answer, error) {
	answer, err := a.client.Do(ctx, r)
	if err != nil {
		if ctx.Err() == nil {
			a.metrics.add("call_errors", 1)
		}
		return answer, err
	}
	if answer.Status == http.StatusOK || answer.Status == http.StatusNoContent {
		a.status.clear("identity")
		return answer, nil
	}
	e := problem(r.Path, answer)
	if e.identity() {
		a.status.set("identity", fmt.Sprintf("the control plane refuses this host: %d %s", e.status, e.reason))
	}
	return answer, e
}

// retry gives the wait before the next attempt: what the answer asked for, else full jitter below a doubling bound.
type retry struct{ bound time.Duration }

func (r *retry) reset() { r.bound = 0 }

func (r *retry) next(err error) time.Duration {
	var e *answerError
	if errors.As(err, &e) {
		if e.identity() {
			return identityRetry
		}
		if e.retryAfter > 0 {
			return e.retryAfter
		}
	}
	r.bound = min(max(2*r.bound, backoffMin), backoffMax)
	return fullJitter(r.bound)
}

// fetchTicket gets this host's ticket of a rollout and its signature, and verifies it now. It returns the
// fingerprint of the trust file too.
func (a *Agent) fetchTicket(ctx context.Context, rolloutID string) (trust.Verified[*fleet.Ticket], string, error) {
	var none trust.Verified[*fleet.Ticket]
	id, err := fleet.ParseRolloutID(rolloutID)
	if err != nil {
		return none, "", fmt.Errorf("agent: %w", err)
	}
	// Read each time: keys are rotated while agents run.
	keys, err := trust.LoadFile(a.cfg.TrustFile)
	if err != nil {
		a.status.set("trust", err.Error())
		return none, "", fmt.Errorf("agent: %w", err)
	}
	a.status.clear("trust")
	if a.original() {
		ticket, err := a.deriveTicket(ctx, id, keys)
		return ticket, keys.Fingerprint(), err
	}
	path := wire.PathTickets + url.PathEscape(id.String())
	doc, err := a.call(ctx, client.Request{Method: http.MethodGet, Path: path, Timeout: callTimeout, Limit: fleet.MaxTicket})
	if err != nil {
		return none, "", err
	}
	sig, err := a.call(ctx, client.Request{Method: http.MethodGet, Path: path + wire.PathSig, Timeout: callTimeout})
	if err != nil {
		return none, "", err
	}
	ticket, err := trust.VerifyTicket(doc.Body, sig.Body, keys, a.deps.Clock.Now().Wall, a.cfg.MaxSignatureAge)
	if err != nil {
		return none, "", fmt.Errorf("agent: ticket of %s: %w", rolloutID, err)
	}
	return ticket, keys.Fingerprint(), nil
}

// fullJitter gives anything from nothing to all of d.
func fullJitter(d time.Duration) time.Duration { return rand.N(d + 1) }
