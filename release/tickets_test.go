package release_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nixfleet/fleet"
	"nixfleet/release"
)

// ticketsIn writes lines as the tickets of stable@s1 and opens them.
func ticketsIn(t *testing.T, lines ...string) (*release.Tickets, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tickets"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tickets", "stable@s1.jsonl"), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := fleet.NewRolloutID("stable", "s1")
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := d.Tickets(id)
	if err == nil {
		t.Cleanup(func() {
			if err := tickets.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return tickets, err
}

var sig = strings.Repeat("A", 86) + "=="

func TestTicketsWrittenByOthersAreFoundToo(t *testing.T) {
	tickets, err := ticketsIn(t,
		`{"sig":"`+sig+`","ticket":{"policy":{"hostname":"wrong"},"hostname":"b"}}`,
		` { "ticket" : { "hostname" : "a", "channel":"x" }, "sig" : "`+sig+`" }`,
		`{"ticket":{"channel":"a\",\"hostname\":\"wrong","fleetHash":"x","freshnessSeconds":1,"hostname":"c"},"sig":"`+sig+`"}`,
		`{"ticket":{"channel":"x","fleetHash":"x","freshnessSeconds":1,"hostname":"d"},"sig":"`+sig+`"}`,
		`{"ticket":{"channel":"x","fleetHash":"x","freshnessSeconds":{"a":"b"},"hostname":"e"},"sig":"`+sig+`"}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(tickets.Hosts()); !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("%q", got)
	}
	for name := range tickets.Hosts() {
		doc, err := tickets.Ticket(name)
		var body struct{ Hostname string }
		if err == nil {
			err = json.Unmarshal(doc.Raw, &body)
		}
		if err != nil || body.Hostname != name || len(doc.Sig) != 64 {
			t.Errorf("%s: %s, %v", name, doc.Raw, err)
		}
	}
}

func TestWhatIsNoFileOfTicketsIsRefused(t *testing.T) {
	good := `{"ticket":{"hostname":"a"},"sig":"` + sig + `"}`
	for name, lines := range map[string][]string{
		"no JSON": {good, "{"}, "an empty line": {good, "", good}, "a host twice": {good, good}, "no hostname": {`{"ticket":{},"sig":"` + sig + `"}`},
		"no ticket": {`{"sig":"` + sig + `"}`}, "a short signature": {`{"ticket":{"hostname":"a"},"sig":"AAAA"}`}, "a line without end": {strings.Repeat("x", 1<<20)},
		"a last line cut off": {good, good[:20]},
	} {
		if _, err := ticketsIn(t, append(lines, "")...); !errors.Is(err, release.ErrTickets) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tickets, err := ticketsIn(t); err != nil || tickets.Len() != 0 {
		t.Errorf("no tickets: %v", err)
	}
}

// The fast way to a line's host must give what parsing gives.
func FuzzHostnameOf(f *testing.F) {
	f.Add([]byte(`{"ticket":{"channel":"x","fleetHash":"x","freshnessSeconds":1,"hostname":"d"},"sig":"` + sig + `"}`))
	f.Add([]byte(`{"ticket":{"channel":"a\",\"hostname\":\"w","fleetHash":"x","freshnessSeconds":1,"hostname":"c"},"sig":"` + sig + `"}`))
	f.Add([]byte(`{"ticket":{"hostname":"a"},"sig":"` + sig + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := release.HostnameOf(line)
		if err != nil {
			return
		}
		var parsed struct {
			Ticket map[string]any `json:"ticket"`
		}
		if json.Unmarshal(line, &parsed) != nil {
			return // the fast way does not look at the whole line; reading the ticket does
		}
		if want, ok := parsed.Ticket["hostname"].(string); ok && want != got {
			t.Fatalf("%s: %q, want %q", line, got, want)
		}
	})
}
