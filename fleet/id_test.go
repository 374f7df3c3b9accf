package fleet_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nixfleet/fleet"
)

func TestARolloutIDIsReadBackAsItWasBuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		channel := rapid.StringMatching(`[a-zA-Z0-9._+-]{1,40}`).Draw(t, "channel")
		ref := rapid.StringMatching(`[a-zA-Z0-9._+:-]{1,64}`).Draw(t, "ref")
		id, err := fleet.NewRolloutID(channel, ref)
		if strings.Contains(channel, "..") || strings.Contains(ref, "..") {
			if !errors.Is(err, fleet.ErrRolloutID) {
				t.Fatalf("%q@%q: %v, want a refusal", channel, ref, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := fleet.ParseRolloutID(id.String())
		if err != nil || again != id || again.Channel() != channel || again.Ref() != ref || again.IsZero() {
			t.Fatalf("%q came back as %q (%q, %q), %v", id, again, again.Channel(), again.Ref(), err)
		}
	})
}

func TestWhatCannotBeARolloutIDIsRefused(t *testing.T) {
	long := strings.Repeat("x", fleet.MaxRolloutID)
	for name, s := range map[string]string{
		"nothing": "", "no at": "stable", "no channel": "@ref", "no ref": "stable@", "only at": "@",
		"a slash in the channel": "a/b@ref", "a slash in the ref": "stable@a/b", "a backslash": `stable@a\b`,
		"dots in the channel": "..@ref", "dots in the ref": "stable@a..b", "a second at": "stable@a@b",
		"a space": "stable@a b", "a tab": "sta\tble@a", "a line feed at the end": "stable@a\n", "a NUL": "stable@a\x00",
		"a no-break space": "stable@a\u00a0b", "a zero-width space": "stable@a\u200bb", "bad UTF-8": "stable@\xff",
		"257 bytes": "s@" + long[:fleet.MaxRolloutID-1], "a long channel": long + "@x",
	} {
		if id, err := fleet.ParseRolloutID(s); !errors.Is(err, fleet.ErrRolloutID) || !id.IsZero() {
			t.Errorf("%s: %q gave %q, %v", name, s, id, err)
		}
	}
	if _, err := fleet.ParseRolloutID("s@" + long[:fleet.MaxRolloutID-2]); err != nil {
		t.Errorf("256 bytes: %v", err)
	}
	var zero fleet.RolloutID
	if zero.String() != "" || zero.Channel() != "" || zero.Ref() != "" || !zero.IsZero() {
		t.Error("the zero id is not empty")
	}
}

func FuzzParseRolloutID(f *testing.F) {
	for _, s := range []string{"stable@abc", "@", "a@b@c", "..@x", "a/b@c", "stable@a b", "é@ü", "\xff@a", ".@."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := fleet.ParseRolloutID(s)
		if err != nil {
			if !errors.Is(err, fleet.ErrRolloutID) || !id.IsZero() {
				t.Fatalf("%q: %v with %q", s, err, id)
			}
			return
		}
		again, err := fleet.NewRolloutID(id.Channel(), id.Ref())
		if err != nil || again != id || id.String() != s || len(s) > fleet.MaxRolloutID {
			t.Fatalf("%q: %q, %v", s, again, err)
		}
		if strings.ContainsAny(s, "/\\ \t\n\r\x00") || strings.Contains(s, "..") || strings.Count(s, "@") != 1 {
			t.Fatalf("%q was accepted", s)
		}
	})
}

func TestClosureAndHostNames(t *testing.T) {
	for name, c := range map[string]struct {
		check    func(string) error
		class    error
		good     []string
		bad      []string
		longGood int
	}{
		"closures": {
			fleet.ValidateClosure, fleet.ErrClosure,
			[]string{"a", "0", "abc-nixos-25.11", "a+b.c_d?e=f-g"},
			[]string{"", ".a", "-a", "a/b", "a b", "a\n", "é", "a\x00", "a@b", "a%2e"},
			fleet.MaxClosure,
		},
		"hosts": {
			fleet.ValidateHostname, fleet.ErrHostname,
			[]string{"a", "web-01", "db.example.org", "a_b", "WEB"},
			[]string{"", ".a", "a.", "-a", "a-", "a..b", "a b", "a/b", "é", "a\x00", "*"},
			fleet.MaxHostname,
		},
	} {
		for _, s := range append(c.good, strings.Repeat("x", c.longGood)) {
			if err := c.check(s); err != nil {
				t.Errorf("%s: %q: %v", name, s, err)
			}
		}
		for _, s := range append(c.bad, strings.Repeat("x", c.longGood+1)) {
			if err := c.check(s); !errors.Is(err, c.class) {
				t.Errorf("%s: %q: %v, want %v", name, s, err, c.class)
			}
		}
	}
}

const pubkey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMZCRkYTnqAxfC9N2B2DEfqVcuJpZYNLzDxVd4OVI6Zx"

func TestAPubkeyLineIsRead(t *testing.T) {
	for _, line := range []string{pubkey, pubkey + " root@host", "  " + pubkey + "\n"} {
		if raw, err := fleet.ParsePubkey(line); err != nil || len(raw) != fleet.PubkeySize {
			t.Errorf("%q: %x, %v", line, raw, err)
		}
	}
	for _, line := range []string{
		"", "ssh-ed25519", "ssh-rsa " + pubkey[len("ssh-ed25519 "):], pubkey[:len(pubkey)-4], pubkey + "AAAA", "ssh-ed25519 !!!!",
		"ssh-ed25519 AAAAB3NzaC1yc2EAAAAD", "ssh-ed25519 AAAA", `command="x" ` + pubkey, "ssh-ed25519 //////////8=",
	} {
		if _, err := fleet.ParsePubkey(line); !errors.Is(err, fleet.ErrPubkey) {
			t.Errorf("%q: %v", line, err)
		}
	}
}
