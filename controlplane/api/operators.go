package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/operator"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

const operatorPath = "/v1/operator"

func (s *Server) operatorRoutes() {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, caller) *problem{
		"GET " + operatorPath + "/status":                    s.overview,
		"GET " + operatorPath + "/hosts":                     s.hosts,
		"POST " + operatorPath + "/hosts/{host}/release":     s.release,
		"GET " + operatorPath + "/rollouts":                  s.rollouts,
		"GET " + operatorPath + "/rollouts/{rollout}":        s.rollout,
		"POST " + operatorPath + "/rollouts/{rollout}/clear": s.clear,
		"GET " + operatorPath + "/trace":                     s.trace,
		"GET " + operatorPath + "/why/{host}":                s.why,
		"GET " + operatorPath + "/quarantines":               s.quarantines,
		"POST " + operatorPath + "/quarantines/clear":        s.clearQuarantine,
	} {
		s.mux.HandleFunc(pattern, s.only(asOperator, handler))
	}
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	a, p := submit[core.OverviewAnswer](s, r.Context(), core.Ask{Question: core.AskOverview{}})
	if p != nil {
		return p
	}
	return s.sendValue(w, overviewOf(&a.Overview))
}

// hosts lists hosts in pages: ?limit=, ?after= from "next", ?rollout=.
func (s *Server) hosts(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	q := r.URL.Query()
	limit := 0
	if text := q.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return refuse(http.StatusBadRequest, "limit is a number from 1 to 65535")
		}
		limit = int(n)
	}
	a, p := submit[core.HostsAnswer](s, r.Context(), core.Ask{Question: core.AskHosts{After: q.Get("after"), Limit: limit, RolloutID: q.Get("rollout")}})
	if p != nil {
		return p
	}
	out := operator.Hosts{Hosts: make([]operator.Host, len(a.Hosts)), Next: a.Next}
	for i := range a.Hosts {
		out.Hosts[i] = hostOf(&a.Hosts[i])
	}
	return s.sendValue(w, out)
}

func (s *Server) rollouts(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	a, p := submit[core.RolloutsAnswer](s, r.Context(), core.Ask{Question: core.AskRollouts{}})
	if p != nil {
		return p
	}
	return s.sendValue(w, operator.Rollouts{Rollouts: rolloutsOf(a.Rollouts)})
}

func (s *Server) rollout(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	id := r.PathValue("rollout")
	a, p := submit[core.RolloutsAnswer](s, r.Context(), core.Ask{Question: core.AskRollouts{RolloutID: id}})
	switch {
	case p != nil:
		return p
	case id == "" || len(a.Rollouts) == 0:
		return refuse(http.StatusNotFound, fmt.Sprintf("no rollout %q", id))
	}
	return s.sendValue(w, rolloutOf(&a.Rollouts[0]))
}

func (s *Server) why(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	name := r.PathValue("host")
	a, p := submit[core.WhyAnswer](s, r.Context(), core.Ask{Question: core.AskWhy{Host: name}})
	switch {
	case p != nil:
		return p
	case !a.Known:
		return refuse(http.StatusNotFound, fmt.Sprintf("no host %q", name))
	}
	return s.sendValue(w, whyOf(&a.Why))
}

func (s *Server) quarantines(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	a, p := submit[core.QuarantinesAnswer](s, r.Context(), core.Ask{Question: core.AskQuarantines{}})
	if p != nil {
		return p
	}
	return s.sendValue(w, operator.Quarantines{Quarantines: quarantinesOf(a.Quarantines)})
}

// maxTrace is how many rows one answer has; ?after= goes on behind the last.
const maxTrace = 1000

var errEnough = errors.New("api: enough rows")

// trace gives rows of the log of a host, a rollout or both, as an export has them.
func (s *Server) trace(w http.ResponseWriter, r *http.Request, _ caller) *problem {
	q := r.URL.Query()
	host, rollout := q.Get("host"), q.Get("rollout")
	if host == "" && rollout == "" {
		return refuse(http.StatusBadRequest, "a trace is of a host, of a rollout, or of both")
	}
	after := uint64(0)
	if text := q.Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			return refuse(http.StatusBadRequest, "after is the seq of a row")
		}
	}
	out, n, next := []byte(`{"rows":[`), 0, uint64(0)
	err := s.config.Log.Trace(r.Context(), host, rollout, after, func(row *ledger.Row) error {
		if n == maxTrace || len(out) > wire.MaxBody {
			return errEnough
		}
		if n++; n > 1 {
			out = append(out, ',')
		}
		var err error
		out, err = row.AppendLine(out)
		next = row.Seq
		return err
	})
	out = append(out, ']')
	switch {
	case errors.Is(err, errEnough):
		out = append(out, `,"next":`...)
		out = strconv.AppendUint(out, next, 10)
	case err != nil:
		s.config.Logger.Error("trace failed", "error", err)
		return refuse(http.StatusInternalServerError, "the log could not be read")
	}
	s.send(w, http.StatusOK, append(out, '}'))
	return nil
}

// fields reads the JSON object an operator sent; an empty body is one without members.
func fields(w http.ResponseWriter, r *http.Request) (*strictjson.Object, *problem) {
	data, p := body(w, r)
	if p != nil {
		return nil, p
	}
	if len(data) == 0 {
		data = []byte("{}")
	}
	v, err := strictjson.Parse(data, strictjson.DefaultLimits)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, err.Error())
	}
	return v.Object(), nil
}

// clear is a clearance: {"reason"?}.
func (s *Server) clear(w http.ResponseWriter, r *http.Request, who caller) *problem {
	o, p := fields(w, r)
	if p != nil {
		return p
	}
	reason := o.OptString("reason")
	if err := o.Err(); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if len(reason) > fleet.MaxReason {
		return refuse(http.StatusBadRequest, fmt.Sprintf("a reason has at most %d bytes", fleet.MaxReason))
	}
	return s.change(w, r, core.Clear{RolloutID: r.PathValue("rollout"), By: who.name, Reason: reason})
}

// clearQuarantine takes {"channel", "closure"}.
func (s *Server) clearQuarantine(w http.ResponseWriter, r *http.Request, who caller) *problem {
	o, p := fields(w, r)
	if p != nil {
		return p
	}
	in := core.ClearQuarantine{Channel: o.String("channel"), Closure: o.String("closure"), By: who.name}
	if err := o.Err(); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	return s.change(w, r, in)
}

func (s *Server) release(w http.ResponseWriter, r *http.Request, who caller) *problem {
	return s.change(w, r, core.Release{Host: r.PathValue("host"), By: who.name})
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, in core.Input) *problem {
	a, p := submit[core.StatusAnswer](s, r.Context(), in)
	if p != nil {
		return p
	}
	return s.status(w, a)
}
