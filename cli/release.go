package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nixfleet/fleet"
	"nixfleet/keydir"
	"nixfleet/release"
	"nixfleet/trust"
	"nixfleet/trust/pki"
	"nixfleet/wire"
)

func newRelease(s Streams) *cobra.Command {
	var o releaseOptions
	c := &cobra.Command{
		Use:   "release [FLEET.json]",
		Short: "Validate a fleet file, resolve its waves, sign and publish it; or --plan, or --resign",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case o.resign && (len(args) == 1 || o.plan || len(o.refs) > 0):
				return usage("--resign takes no fleet file, no --plan and no --ref: it changes nothing but signatures")
			case !o.resign && len(args) == 0:
				return usage("name a fleet file, or --resign")
			}
			return o.run(s, args)
		},
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "published", "directory to publish to")
	f.StringArrayVar(&o.refs, "ref", nil, "CHANNEL=REF to release (repeatable); else meta.ciCommit for every channel")
	f.StringVar(&o.keys, "keys", "keys", "folder of the keys")
	f.StringVar(&o.key, "key", "", "key to sign with (KEYS/release.key)")
	f.StringVar(&o.trust, "trust", "", "whose signatures are believed on what is published already (those of the key)")
	f.BoolVar(&o.plan, "plan", false, "show which host would go when; sign and write nothing")
	f.BoolVar(&o.resign, "resign", false, "sign each channel's newest release anew before it grows stale")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return c
}

type releaseOptions struct {
	out, keys, key, trust string
	refs                  []string
	plan, resign, asJSON  bool
}

func (o *releaseOptions) run(s Streams, args []string) error {
	r, err := o.request(s.In, args)
	if err != nil {
		return err
	}
	if o.plan {
		text, err := release.Plan(r)
		if err != nil {
			return refused(err)
		}
		return say(s.Out, "%s", text)
	}
	key := o.key
	if key == "" {
		key = filepath.Join(o.keys, keydir.ReleaseKey)
	}
	if r.Signer, err = pki.LoadKey(key); err != nil {
		return reach(err)
	}
	do := release.Write
	if o.resign {
		do = release.Resign
	}
	summary, err := do(r)
	if err != nil {
		return refused(err)
	}
	return o.report(s, &summary)
}

func (o *releaseOptions) request(in io.Reader, args []string) (release.Request, error) {
	r := release.Request{Dir: o.out, At: time.Now(), Refs: map[string]string{}}
	for _, text := range o.refs {
		channel, ref, ok := strings.Cut(text, "=")
		if _, twice := r.Refs[channel]; !ok || twice {
			return r, usage("--ref %q, want CHANNEL=REF once for a channel", text)
		}
		r.Refs[channel] = ref
	}
	var err error
	if len(args) == 1 {
		if r.Fleet, err = readDocument(in, args[0]); err != nil {
			return r, reach(err)
		}
	}
	if o.trust != "" {
		if r.Trust, err = trust.LoadFile(o.trust); err != nil {
			return r, reach(err)
		}
	}
	return r, nil
}

func (o *releaseOptions) report(s Streams, sum *release.Summary) error {
	if o.asJSON {
		return printJSON(s, map[string]any{
			"rollouts": names(sum.Rollouts), "refreshed": names(sum.Refreshed), "tickets": sum.Hosts,
			"signedAt": sum.SignedAt, "fleetHash": sum.FleetHash, "directory": o.out,
		})
	}
	for _, id := range sum.Rollouts {
		if err := say(s.Out, "published  %s\n", id); err != nil {
			return err
		}
	}
	for _, id := range sum.Refreshed {
		if err := say(s.Out, "signed     %s anew\n", id); err != nil {
			return err
		}
	}
	return say(s.Out, "in         %s, %d tickets, fleet %s\n", o.out, sum.Hosts, sum.FleetHash)
}

func names(ids []fleet.RolloutID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// errTooLong refuses a file before it fills the memory.
var errTooLong = errors.New("longer than the 32 MiB a signed document may have")

func readDocument(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // read only: nothing can be lost
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, wire.MaxDocument+1))
	if err == nil && len(data) > wire.MaxDocument {
		err = errTooLong
	}
	return data, err
}
