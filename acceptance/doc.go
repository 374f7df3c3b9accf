// Package acceptance proves sentences of the documentation on real parts: agents and a control plane as the programs
// run them, over TLS, on SQLite, the directory backend and real disks, in real time with short rhythms.
//
// Each test is named as the sentence it proves. There is no code here beside the tests; what they run on is package
// internal/fleettest. docs/design/08-operating-and-proving.md.
package acceptance
