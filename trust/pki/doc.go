// Package pki makes and loads the keys and certificates of a fleet.
//
//	agents, err := pki.CreateCA(dir, "agents-ca", now)       // agents-ca.pem, agents-ca.key
//	operators, err := pki.CreateCA(dir, "operators-ca", now) // another root: the role is the root
//	server, err := servers.IssueServer(now, "cp.example.org")
//	csr, err := pki.NewCSR(hostKey, "web-01")
//	request, err := pki.ParseCSR(csr)
//	cert, err := agents.IssueAgent(request, now)
//
// A certificate says who, the root that signed it says what for: agents, operators and servers have roots of their own,
// so no field inside a certificate can raise its holder. An agent's TLS key is its SSH host key. Everything is fit for
// TLS 1.3 and, as roots and servers are ECDSA P-256, for browsers.
//
// Files: private keys 0600, directories made here 0700, and nothing is ever overwritten ([ErrExists]). A private key
// that others may read is not loaded ([ErrPermissions]).
//
// Times are arguments. Values do not change and may be used from several goroutines. It implements
// docs/design/05-trust.md. Tests: real TLS handshakes between what is issued here, and a table of refusals.
package pki
