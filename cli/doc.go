// Package cli is the operator's tool: the commands of nixfleet, each a function from flags to text.
//
// [Run] takes arguments and streams and gives an exit code: 0 done, 1 the answer is no, 2 usage, 3 could not reach or
// read. Results go to the output stream, as tables for people or JSON for machines; everything else goes to the error
// stream. Errors say what went wrong, where, and what to do next. docs/design/08-operating-and-proving.md.
//
// Nothing here is safe for concurrent use but Run itself. Tests run whole commands against real files and a real
// control plane.
package cli
