package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"nixfleet/trust/pki"
	"nixfleet/wire"
)

// Roots are the roots of the two kinds of clients. They must have nothing in common.
type Roots struct{ Agents, Operators *x509.CertPool }

// role is what a client may do.
type role uint8

const (
	nobody role = iota
	asAgent
	asOperator
)

// errNoRole refuses a certificate that neither root verifies, in the handshake.
var errNoRole = errors.New("api: the client certificate is of no role here")

// TLSConfig is TLS 1.3 with a client certificate of one of the roles. Clients without one get no further than being
// told so: that is for a host that has none yet.
func (r Roots) TLSConfig(certificate tls.Certificate, now func() time.Time) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS13,
		ClientAuth:   tls.RequestClientCert,
		Time:         now,
		NextProtos:   []string{"http/1.1"}, // a parked HTTP/2 connection costs several times the memory
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			if r.roleOf(cs.PeerCertificates[0], now()) == nobody {
				return errNoRole
			}
			return nil
		},
	}
}

func (r Roots) roleOf(leaf *x509.Certificate, now time.Time) role {
	isAgent := pki.VerifyClient(leaf, r.Agents, now) == nil
	isOperator := pki.VerifyClient(leaf, r.Operators, now) == nil
	switch {
	case isAgent && isOperator: // roots in common: nobody can say which it is
		return nobody
	case isAgent:
		return asAgent
	case isOperator:
		return asOperator
	}
	return nobody
}

// connection remembers what a connection was verified as: a signature check per connection, not per request.
type connection struct {
	once sync.Once
	role role
}

type connectionKey struct{}

// ConnContext is for http.Server.ConnContext.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// caller is who makes a request.
type caller struct {
	role role
	name string // the CN of its certificate
}

// identify says who makes the request, or why it is refused. Expiry and revocation are looked at on every request:
// connections live long.
func (s *Server) identify(r *http.Request) (caller, *problem) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return caller{}, refuse(http.StatusUnauthorized, "a client certificate is needed")
	}
	leaf, now := r.TLS.PeerCertificates[0], s.now()
	got := s.roleOn(r.Context(), leaf, now)
	switch {
	case got == nobody:
		return caller{}, refuse(http.StatusForbidden, "the client certificate is of no role here")
	case now.After(leaf.NotAfter):
		return caller{}, refuse(http.StatusUnauthorized, "the client certificate has expired")
	}
	name := leaf.Subject.CommonName
	if got == asAgent {
		if revoked := s.config.Revocations(); revoked != nil && revoked.Revoked(name, leaf.NotBefore) {
			return caller{}, refuse(http.StatusForbidden, "the client certificate was revoked")
		}
	}
	return caller{got, name}, nil
}

func (s *Server) roleOn(ctx context.Context, leaf *x509.Certificate, now time.Time) role {
	conn, ok := ctx.Value(connectionKey{}).(*connection)
	if !ok {
		return s.config.Roots.roleOf(leaf, now)
	}
	conn.once.Do(func() { conn.role = s.config.Roots.roleOf(leaf, now) })
	return conn.role
}

// only lets callers of one role through, that speak this protocol, before anything of the body is read.
func (s *Server) only(want role, next func(w http.ResponseWriter, r *http.Request, who caller) *problem) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(wire.HeaderProtocol, wire.ProtocolVersion)
		h.Set(wire.HeaderFeatures, wire.AllFeatures)
		who, p := s.identify(r)
		if p == nil && who.role != want {
			p = refuse(http.StatusForbidden, "a certificate of another role is needed")
		}
		if got := r.Header.Get(wire.HeaderProtocol); p == nil && want == asAgent && got != wire.ProtocolVersion {
			p = refuse(http.StatusUpgradeRequired, fmt.Sprintf("protocol %q, this control plane speaks %s", got, wire.ProtocolVersion))
		}
		if p == nil {
			p = next(w, r, who)
		}
		if p != nil {
			s.write(w, p)
		}
	}
}
