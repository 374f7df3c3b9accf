package cli

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"nixfleet/keydir"
	"nixfleet/trust"
	"nixfleet/trust/pki"
)

func newKeys(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make the keys and certificates of a fleet; nothing that exists is overwritten",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newKeysInit(s), newKeysServer(s), newKeysOperator(s), newKeysAgent(s), newKeysHost(s))
	return c
}

func keysDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", "keys", "folder of the keys")
}

func newKeysInit(s Streams) *cobra.Command {
	var dir, operator string
	var names []string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the signing keys, the three roots, a server and an operator certificate",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			made, err := keydir.Create(dir, operator, names, time.Now())
			for _, m := range made {
				fmt.Fprintf(s.Out, "%-44s %s\n", m.File, m.Purpose)
			}
			return refused(err)
		},
	}
	keysDirFlag(c, &dir)
	c.Flags().StringVar(&operator, "operator", "admin", "name of the first operator")
	c.Flags().StringArrayVar(&names, "server-name", nil, "DNS name or address of the control plane besides loopback (repeatable)")
	return c
}

func newKeysServer(s Streams) *cobra.Command {
	var dir string
	var names []string
	c := &cobra.Command{
		Use:   "server",
		Short: "Make a certificate for the control plane",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := keydir.IssueServer(dir, names, time.Now()); err != nil {
				return refused(err)
			}
			return say(s.Out, "%s\n", filepath.Join(dir, keydir.Server+".pem"))
		},
	}
	keysDirFlag(c, &dir)
	c.Flags().StringArrayVar(&names, "server-name", nil, "DNS name or address besides loopback (repeatable)")
	return c
}

func newKeysOperator(s Streams) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "operator NAME",
		Short: "Make a client certificate for an operator",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := keydir.IssueOperator(dir, args[0], time.Now()); err != nil {
				return refused(err)
			}
			return say(s.Out, "%s\n", filepath.Join(dir, keydir.Operator(args[0])+".pem"))
		},
	}
	keysDirFlag(c, &dir)
	return c
}

func newKeysAgent(s Streams) *cobra.Command {
	var dir, out string
	c := &cobra.Command{
		Use:   "agent CSR",
		Short: "Sign a host's certificate request (a PEM file, - for standard input)",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			csr, err := readArgument(s.In, args[0])
			if err != nil {
				return reach(err)
			}
			cert, hostname, err := keydir.IssueAgent(dir, csr, time.Now())
			if err != nil {
				return refused(err)
			}
			if out == "" {
				out = hostname + ".pem"
			}
			if err := pki.WritePublic(out, cert); err != nil {
				return refused(err)
			}
			return say(s.Out, "%s\n", out)
		},
	}
	keysDirFlag(c, &dir)
	c.Flags().StringVar(&out, "out", "", "file of the certificate (HOSTNAME.pem)")
	return c
}

func newKeysHost(s Streams) *cobra.Command {
	var hostname, key, out string
	c := &cobra.Command{
		Use:   "request",
		Short: "Make a host's certificate request from its SSH Ed25519 key, and print its public key for the fleet",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			data, err := pki.ReadPrivate(key)
			if err != nil {
				return reach(err)
			}
			private, err := trust.ParseHostKey(data)
			if err != nil {
				return refused(fmt.Errorf("%s: %w", key, err))
			}
			csr, err := pki.NewCSR(private, hostname)
			if err != nil {
				return refused(err)
			}
			if out == "" {
				out = hostname + ".csr"
			}
			if err := pki.WritePublic(out, csr); err != nil {
				return refused(err)
			}
			line, err := trust.MarshalHostPubkey(private.Public().(ed25519.PublicKey))
			if err != nil {
				return refused(err)
			}
			return say(s.Out, "%s\n%s\n", out, line)
		},
	}
	c.Flags().StringVar(&hostname, "hostname", "", "the host's name")
	c.Flags().StringVar(&key, "host-key", "/etc/ssh/ssh_host_ed25519_key", "the host's private SSH key")
	c.Flags().StringVar(&out, "out", "", "file of the request (HOSTNAME.csr)")
	return c
}

// maxArgumentFile bounds a file named on the command line that is not a document: certificates and requests.
const maxArgumentFile = 1 << 20

// readArgument reads the named file, or standard input for "-".
func readArgument(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxArgumentFile))
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		return data, err
	}
	return io.ReadAll(io.LimitReader(in, maxArgumentFile))
}

// say prints a result; a result that cannot be written is an error like any other.
func say(w io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		return reach(err)
	}
	return nil
}
