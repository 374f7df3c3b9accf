package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

const (
	// bodyLimit is how much of an answer is searched: a health page says what it has to say early.
	bodyLimit = 64 << 10
	// headerLimit bounds what an answer may say before its body.
	headerLimit = 64 << 10
	// maxURL is what servers accept of a request line.
	maxURL = 8 << 10
)

// httpCheck passes when a GET is answered with the status, by exactly this URL, and the body has the text.
type httpCheck struct {
	url      string
	status   int
	contains string
	roots    *x509.CertPool // nil: the machine's own
}

func parseHTTP(o *strictjson.Object) (Check, time.Duration) {
	c := &httpCheck{
		url:      o.String("url"),
		status:   int(number(o, "expectStatus", http.StatusOK, 100, 599)),
		contains: o.OptString("bodyContains"),
	}
	u, err := url.Parse(c.url)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || len(c.url) > maxURL {
		o.Fail("url", "want an absolute http or https URL of at most %d bytes", maxURL)
	}
	if len(c.contains) > bodyLimit {
		o.Fail("bodyContains", "%d bytes, only the first %d of a body are searched", len(c.contains), bodyLimit)
	}
	return c, seconds(o, "timeoutSecs", 10*time.Second, time.Second, MaxTimeout)
}

func (c *httpCheck) Run(ctx context.Context) (_ []host.SubResult, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	// A transport for each run: a connection kept from the last one would prove nothing about this one.
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: headerLimit,
		TLSClientConfig: &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12},
	}
	defer transport.CloseIdleConnections()
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != c.status {
		return nil, fmt.Errorf("http: status %d, want %d", resp.StatusCode, c.status)
	}
	if c.contains == "" {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return nil, fmt.Errorf("http: body: %w", err)
	}
	if !bytes.Contains(body, []byte(c.contains)) {
		return nil, fmt.Errorf("http: the first %d bytes of the body do not contain %q", len(body), c.contains)
	}
	return nil, nil
}
