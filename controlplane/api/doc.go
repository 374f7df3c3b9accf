// Package api is the control plane's HTTP side: what agents and operators call, with the roles and bounds of each.
//
//	server := api.New(api.Config{...})      // a http.Handler
//	http.Server{Handler: server, ConnContext: api.ConnContext, TLSConfig: api.TLSConfig(...)}
//
// A request is refused before its body is read unless its certificate was verified by the root of the role that may
// make it: the role is the root, never a field of the certificate. Bodies are bounded and decoded strictly. Whatever
// changes something goes to the reducer as one input, and is answered when its commit is durable.
//
// Handlers run concurrently; the package keeps no state beside what connections were verified as.
//
// Implements docs/design/03-wire-protocol.md and the roles of docs/design/05-trust.md. Tests run over real TLS.
package api
