package fleet

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrRolloutID is the class of every refusal of a rollout id.
var ErrRolloutID = errors.New("fleet: bad rollout id")

// MaxRolloutID bounds a rollout id, in bytes: a channel, an "@" and a ref fit several times over.
const MaxRolloutID = 256

// RolloutID names one channel ref going out: "{channel}@{channelRef}". It is comparable and immutable; the zero value
// is no id. Only [NewRolloutID] and [ParseRolloutID] make one, so whoever holds one may use it as a file name.
// docs/design/01-system.md.
type RolloutID struct {
	text string
	at   int // where the "@" is
}

// NewRolloutID builds the id of a channel and its ref. It refuses, with class [ErrRolloutID], empty parts, "/", "\",
// "..", white space, control characters, invalid UTF-8, a second "@" and more than [MaxRolloutID] bytes.
func NewRolloutID(channel, ref string) (RolloutID, error) {
	if err := checkIDPart("channel", channel); err != nil {
		return RolloutID{}, err
	}
	if err := checkIDPart("ref", ref); err != nil {
		return RolloutID{}, err
	}
	id := RolloutID{text: channel + "@" + ref, at: len(channel)}
	if len(id.text) > MaxRolloutID {
		return RolloutID{}, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrRolloutID, len(id.text), MaxRolloutID)
	}
	return id, nil
}

// ParseRolloutID reads what String wrote; it refuses what [NewRolloutID] refuses.
func ParseRolloutID(s string) (RolloutID, error) {
	if len(s) > MaxRolloutID {
		return RolloutID{}, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrRolloutID, len(s), MaxRolloutID)
	}
	channel, ref, found := strings.Cut(s, "@")
	if !found {
		return RolloutID{}, fmt.Errorf("%w: %q has no \"@\", want channel@ref", ErrRolloutID, s)
	}
	return NewRolloutID(channel, ref)
}

func checkIDPart(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: the %s is empty", ErrRolloutID, what)
	case len(s) > MaxRolloutID:
		return fmt.Errorf("%w: the %s has %d bytes, at most %d allowed", ErrRolloutID, what, len(s), MaxRolloutID)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: the %s is not valid UTF-8", ErrRolloutID, what)
	case strings.Contains(s, ".."):
		return fmt.Errorf("%w: the %s %q contains \"..\"", ErrRolloutID, what, s)
	}
	for _, r := range s {
		// An id becomes a file name and a path of a URL: nothing in it may lead elsewhere or be invisible.
		if r == '/' || r == '\\' || r == '@' || unicode.IsSpace(r) || unicode.IsControl(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("%w: the %s %q contains %q", ErrRolloutID, what, s, r)
		}
	}
	return nil
}

func (id RolloutID) String() string { return id.text }

// Channel returns the part before the "@".
func (id RolloutID) Channel() string { return id.text[:id.at] }

// Ref returns the part behind the "@", "" of the zero id.
func (id RolloutID) Ref() string { return id.text[min(id.at+1, len(id.text)):] }

// IsZero says whether this is no id at all.
func (id RolloutID) IsZero() bool { return id.text == "" }
