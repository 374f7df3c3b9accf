package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"nixfleet/wire"
)

// ErrTransport is the class of every failure to get an answer at all.
var ErrTransport = errors.New("client: no answer")

// ErrCertificate is the class of certificates and roots that cannot be used.
var ErrCertificate = errors.New("client: bad certificate")

// Options say where the control plane is and who we are.
type Options struct {
	Base      string // https://host[:port]
	CACert    string // PEM file with the roots of the control plane's certificate
	Cert      string // PEM file with the host's certificate
	Key       ed25519.PrivateKey
	UserAgent string
	// HTTP replaces the transport that is built from the above, in tests.
	HTTP *http.Client
}

// Client talks to one control plane.
type Client struct {
	base      *url.URL
	http      *http.Client
	userAgent string
	features  atomic.Pointer[wire.Features]
}

// New builds a client. The certificate itself is read later, at each handshake.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Base)
	if err != nil {
		return nil, fmt.Errorf("client: control plane %q: %w", o.Base, err)
	}
	c := &Client{base: base, http: o.HTTP, userAgent: o.UserAgent}
	if c.http == nil {
		transport, err := transport(o)
		if err != nil {
			return nil, err
		}
		c.http = &http.Client{Transport: transport, CheckRedirect: keepRedirect}
	}
	return c, nil
}

func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func transport(o Options) (*http.Transport, error) {
	roots, err := os.ReadFile(o.CACert)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%w: %s holds no certificate", ErrCertificate, o.CACert)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true) // a parked poll costs the control plane half of what a stream of HTTP/2 costs it
	return &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			RootCAs:    pool,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return loadCertificate(o.Cert, o.Key)
			},
		},
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    2, // one is parked in a poll, the others take turns
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// loadCertificate joins the certificate file with the host's own key.
func loadCertificate(file string, key ed25519.PrivateKey) (*tls.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	cert := tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert.Certificate = append(cert.Certificate, block.Bytes)
		}
	}
	if len(cert.Certificate) == 0 {
		return nil, fmt.Errorf("%w: %s holds no certificate", ErrCertificate, file)
	}
	return &cert, nil
}

// Request is one call.
type Request struct {
	Method  string
	Path    string // beginning with a slash, escaped
	Query   url.Values
	Body    []byte
	Timeout time.Duration // for all of it, the body included
	Limit   int64         // of the answer's body in bytes, 0: wire.MaxBody
	// IfNoneMatch is the ETag of what is there already, "" for nothing: the answer may then be 304.
	IfNoneMatch string
}

// Answer is what came back, whatever its status.
type Answer struct {
	Status     int
	Header     http.Header
	Body       []byte
	RetryAfter time.Duration // 0: not said
}

// Do makes one call. An error is of class ErrTransport, or the cause of ctx's end.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	target := *c.base
	target.RawPath, target.Path = r.Path, r.Path
	if path, err := url.PathUnescape(r.Path); err == nil {
		target.Path = path
	}
	target.RawQuery = r.Query.Encode()
	req, err := http.NewRequestWithContext(limited, r.Method, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrTransport, err)
	}
	req.Header.Set(wire.HeaderProtocol, wire.ProtocolVersion)
	req.Header.Set("User-Agent", c.userAgent)
	if r.IfNoneMatch != "" {
		req.Header.Set("If-None-Match", r.IfNoneMatch)
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.roundTrip(req, r.Limit)
	if err != nil && ctx.Err() != nil {
		return Answer{}, context.Cause(ctx)
	}
	return answer, err
}

func (c *Client) roundTrip(req *http.Request, limit int64) (Answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrTransport, err)
	}
	if limit == 0 {
		limit = wire.MaxBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrTransport, err)
	}
	if int64(len(body)) > limit {
		return Answer{}, fmt.Errorf("%w: more than %d bytes from %s", ErrTransport, limit, req.URL.Path)
	}
	if resp.StatusCode < 300 {
		f := wire.ParseFeatures(resp.Header.Get(wire.HeaderFeatures))
		c.features.Store(&f)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}, nil
}

// Features are those of the last good answer; none before the first.
func (c *Client) Features() wire.Features {
	if f := c.features.Load(); f != nil {
		return *f
	}
	return wire.Features{}
}

// Announced is Features, and whether there was a good answer to tell them.
func (c *Client) Announced() (f wire.Features, known bool) {
	return c.Features(), c.features.Load() != nil
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// MaxRetryAfter bounds what a control plane may ask for: beyond it, it is better asked again.
const MaxRetryAfter = 10 * time.Minute

// retryAfter reads whole seconds. The form with a date would trust the other side's clock: it counts as not said.
func retryAfter(header string) time.Duration {
	n, err := strconv.ParseUint(header, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, MaxRetryAfter)
}
