package release

import "errors"

// The classes of refusal.
var (
	// ErrRefUsed refuses a ref that the channel has had before: going back is a new ref.
	ErrRefUsed = errors.New("release: the channel has had this ref before")
	// ErrContent refuses other content under an id that was published.
	ErrContent = errors.New("release: this rollout was published with other content")
	// ErrNoRef is for a channel without a ref, or for a ref without a channel to roll out.
	ErrNoRef = errors.New("release: no ref")
	// ErrBusy says that another release is being written to the directory.
	ErrBusy = errors.New("release: another release holds the directory's lock")
	// ErrClock refuses to sign with a time before that of what is published: hosts would refuse it as a downgrade.
	ErrClock = errors.New("release: what is published was signed later than now")
	// ErrNotFound is for a document that the directory does not have.
	ErrNotFound = errors.New("release: not found")
	// ErrTickets is for a file of tickets that is not one.
	ErrTickets = errors.New("release: malformed tickets")
	// ErrRequest is for a request that says too little.
	ErrRequest = errors.New("release: bad request")
)
