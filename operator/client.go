// Package operator is the operator API: its JSON shapes, used by both sides, and a client.
//
//	c, err := operator.NewClient("https://cp:8443", "keys/operator-admin.pem", "keys/operator-admin.key", "keys/server-ca.pem")
//	overview, err := c.Overview(ctx)
//
// A client may be used from several goroutines; it has a timeout for every call and never retries, since a person is
// waiting and can. Errors name the address and what to do. docs/design/07-control-plane.md. It is tested by the
// commands of package cli against a real control plane.
package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"nixfleet/trust/pki"
	"nixfleet/wire"
)

// ErrUnreachable means that no answer came; ErrRefused that one came and was a refusal.
var (
	ErrUnreachable = errors.New("operator: the control plane cannot be reached")
	ErrRefused     = errors.New("operator: the control plane refused")
)

const (
	timeout   = 15 * time.Second // an answer is a query of memory or of an index
	maxAnswer = 32 << 20         // a page of hosts or rows is far less
)

// Client calls one control plane as one operator.
type Client struct {
	base string
	http *http.Client
}

// NewClient reads the operator's certificate and key and the roots of the server's certificate. base is https://host:port.
func NewClient(base, certFile, keyFile, caFile string) (*Client, error) {
	if u, err := url.Parse(base); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("operator: control plane %q, want https://host:port", base)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("operator: client certificate: %w", err)
	}
	pool, err := pki.LoadPool(caFile)
	if err != nil {
		return nil, fmt.Errorf("operator: roots of the control plane: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS13,
	}}
	return &Client{base: strings.TrimSuffix(base, "/"), http: &http.Client{Transport: transport, Timeout: timeout}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Overview returns the fleet at a glance.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	return get[Overview](ctx, c, "status", nil)
}

// Hosts returns every host, all pages, of one rollout or of all ("").
func (c *Client) Hosts(ctx context.Context, rolloutID string) ([]Host, error) {
	var all []Host
	query := url.Values{}
	if rolloutID != "" {
		query.Set("rollout", rolloutID)
	}
	for {
		page, err := get[Hosts](ctx, c, "hosts", query)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Hosts...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Rollouts returns every rollout that is kept, newest first.
func (c *Client) Rollouts(ctx context.Context) ([]Rollout, error) {
	r, err := get[Rollouts](ctx, c, "rollouts", nil)
	return r.Rollouts, err
}

// Why returns the host's one current reason.
func (c *Client) Why(ctx context.Context, host string) (Why, error) {
	return get[Why](ctx, c, "why/"+url.PathEscape(host), nil)
}

// Quarantines returns the closures that are refused, cleared ones included.
func (c *Client) Quarantines(ctx context.Context) ([]Quarantine, error) {
	q, err := get[Quarantines](ctx, c, "quarantines", nil)
	return q.Quarantines, err
}

// Trace calls visit for every row of the log of a host, a rollout or both, after the row with that seq, in order.
func (c *Client) Trace(ctx context.Context, host, rolloutID string, after uint64, visit func(json.RawMessage) error) error {
	query := url.Values{}
	for key, value := range map[string]string{"host": host, "rollout": rolloutID} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for {
		query.Set("after", strconv.FormatUint(after, 10))
		page, err := get[Trace](ctx, c, "trace", query)
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if err := visit(row); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			return nil
		}
		after = page.Next
	}
}

// ClearQuarantine lets the closure go out on the channel again.
func (c *Client) ClearQuarantine(ctx context.Context, channel, closure string) error {
	return c.post(ctx, "quarantines/clear", map[string]string{"channel": channel, "closure": closure})
}

// ClearRollout lets a halted rollout go on without the hosts that failed or reverted.
func (c *Client) ClearRollout(ctx context.Context, rolloutID, reason string) error {
	return c.post(ctx, "rollouts/"+url.PathEscape(rolloutID)+"/clear", map[string]string{"reason": reason})
}

// ReleaseHost ends a hold of the host.
func (c *Client) ReleaseHost(ctx context.Context, host string) error {
	return c.post(ctx, "hosts/"+url.PathEscape(host)+"/release", map[string]string{})
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	body, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("%w: answer to %s: %w", ErrUnreachable, path, err)
	}
	return out, nil
}

func (c *Client) post(ctx context.Context, path string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	_, err = c.call(ctx, http.MethodPost, path, data)
	return err
}

func (c *Client) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/operator/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	req.Header.Set(wire.HeaderProtocol, wire.ProtocolVersion)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%w: %s: %s", ErrRefused, resp.Status, reasonIn(data))
	}
	return data, nil
}

// reasonIn takes the reason out of a refusal, or the start of whatever came instead of one.
func reasonIn(data []byte) string {
	var p struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, &p); err == nil && p.Error != "" {
		return p.Error
	}
	const most = 200
	if len(data) > most {
		data = data[:most]
	}
	return strings.TrimSpace(string(data))
}
