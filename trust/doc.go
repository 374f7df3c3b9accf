// Package trust decides whether bytes may be believed.
//
//	roots, err := trust.LoadFile("/etc/nixfleet/agent/trust.json")
//	ticket, err := trust.VerifyTicket(raw, sig, roots, now, maxAge)
//	use(ticket.Value()) // *fleet.Ticket
//
// A [Verified] value has no public constructor: whoever holds one holds a document whose signature, schema version and
// age were checked here, in this order, and code that acts on intent takes only such values. Signatures are over the
// canonical form of RFC 8785 ([Canonical]) of the bytes received, so fields that we do not know stay signed.
//
// The other direction: [SignDocument] signs documents for a release, [SignHost] and [VerifyHost] are what hosts sign
// their reports with, their SSH host key, and [MintToken] and [VerifyToken] let a new host in once.
//
// Every error has a class, a sentinel of this package: errors.Is tells them apart. The package reads keys and trust
// files and does no other I/O; the time comes in as an argument. Its values do not change and may be used from several
// goroutines. It implements docs/design/05-trust.md. Tests: facts about the canonical form, one test for each class and
// for the order of the checks, edges of every time, and fuzz targets for all that is read.
package trust
