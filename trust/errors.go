package trust

import "errors"

// The classes of refusal of a signed document, in the order in which they are looked for.
var (
	ErrParse                = errors.New("trust: malformed")
	ErrBadSignature         = errors.New("trust: the signature is not of a key we trust")
	ErrUnsupportedAlgorithm = errors.New("trust: every trusted key has an algorithm unknown to this program")
	ErrNoTrustRoots         = errors.New("trust: the trust file has no key for this")
	ErrSchemaVersion        = errors.New("trust: unknown schema version")
	ErrNotSigned            = errors.New("trust: it does not say when it was signed")
	ErrRejectedBefore       = errors.New("trust: signed before the time from which the trust file accepts signatures")
	ErrStale                = errors.New("trust: signed too long ago")
	ErrFutureDated          = errors.New("trust: signed in the future")
)

// Classes of refusal elsewhere.
var (
	// ErrDowngrade is for a ticket older than one its host has accepted; see CheckFloor.
	ErrDowngrade = errors.New("trust: older than what was accepted before")
	// ErrUnsafeInteger refuses an integer that the canonical form cannot carry: two of them would be signed as one.
	ErrUnsafeInteger = errors.New("trust: an integer beyond 2^53 cannot be signed")
	// ErrWrongRollout is for a manifest that is not of the rollout asked for.
	ErrWrongRollout = errors.New("trust: the manifest is of another rollout")
	// ErrTokenExpired and ErrTokenClaims refuse an enrolment token.
	ErrTokenExpired = errors.New("trust: the token has expired")
	ErrTokenClaims  = errors.New("trust: the token is for another host or key")
	// ErrKey is for a key that cannot be read or used.
	ErrKey = errors.New("trust: bad key")
)
