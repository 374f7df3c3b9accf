package cli

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"nixfleet/keydir"
	"nixfleet/operator"
)

// connection holds the flags that every command which asks the control plane has.
type connection struct {
	url, dir, name, cert, key, ca string
	asJSON, watch                 bool
}

// flags adds them. The folder of keys is enough where nixfleet keys made them.
func (c *connection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "url", "https://127.0.0.1:8443", "the control plane")
	f.StringVar(&c.dir, "keys", "keys", "folder of the keys")
	f.StringVar(&c.name, "operator", "admin", "name of the operator whose certificate in that folder is used")
	f.StringVar(&c.cert, "cert", "", "operator certificate (KEYS/operator-NAME.pem)")
	f.StringVar(&c.key, "key", "", "operator key (KEYS/operator-NAME.key)")
	f.StringVar(&c.ca, "ca", "", "roots of the control plane's certificate (KEYS/server-ca.pem)")
	f.BoolVar(&c.asJSON, "json", false, "print JSON")
}

func (c *connection) watchFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.watch, "watch", false, "print again every two seconds until interrupted")
}

func (c *connection) client() (*operator.Client, error) {
	pick := func(given, name string) string {
		if given != "" {
			return given
		}
		return filepath.Join(c.dir, name)
	}
	base := keydir.Operator(c.name)
	client, err := operator.NewClient(c.url, pick(c.cert, base+".pem"), pick(c.key, base+".key"), pick(c.ca, keydir.ServerCA+".pem"))
	return client, reach(err)
}

// watchInterval is how often --watch looks: often enough to follow a rollout, rare enough to be no load.
const watchInterval = 2 * time.Second

// show asks once, or with --watch again and again, and prints what came.
func (c *connection) show(ctx context.Context, ask func(context.Context, *operator.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		if err := answered(ask(ctx, client)); err != nil || !c.watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
	}
}

// answered tells a refusal from a control plane that was not reached.
func answered(err error) error {
	if errors.Is(err, operator.ErrRefused) {
		return refused(err)
	}
	var c *coded
	if errors.As(err, &c) || errors.Is(err, errNo) {
		return err
	}
	return reach(err)
}

// printJSON prints a value as one indented JSON document.
func printJSON(s Streams, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return say(s.Out, "%s\n", data)
}
