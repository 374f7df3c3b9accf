// Package client is the agent's side of the HTTP connection to the control plane: TLS 1.3 with the host's own key,
// the protocol's headers, bounds on every body and every wait. It knows nothing of what is said over it.
//
//	c, err := client.New(client.Options{Base: url, ...})
//	answer, err := c.Do(ctx, client.Request{Method: "GET", Path: wire.PathDispatch, Timeout: 65 * time.Second})
//
// A Client may be used by several goroutines. The certificate is read at every handshake, so a renewed one is used
// without a restart. Redirects are never followed: the control plane is who its certificate says it is.
//
// It implements the transport of docs/design/03-wire-protocol.md. Tests run it against real TLS servers.
package client
