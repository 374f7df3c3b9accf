// Package keydir makes and reads the folder of keys that an organisation starts with.
//
//	release.key     signs fleets, manifests and tickets; belongs to CI and nowhere near the control plane
//	root.key        signs enrolment tokens; belongs offline
//	trust.json      the public halves of both: what every host and the control plane trust
//	server-ca.*     root of the control plane's own certificate
//	agents-ca.*     root of agent certificates; the control plane needs its certificate, and its key to enrol
//	operators-ca.*  root of operator certificates; the control plane needs its certificate only
//	server.*        the control plane's TLS certificate and key
//	operator-NAME.* an operator's certificate and key
//
// Private keys have mode 0600, the folder 0700. Nothing that exists is overwritten. Times are arguments; the package
// reads no clock. Functions may be called from several goroutines for different folders. docs/design/05-trust.md, 5.3.
package keydir

import (
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nixfleet/trust"
	"nixfleet/trust/pki"
)

// Names of the files; those of certificates and keys are given without .pem and .key.
const (
	ReleaseKey  = "release.key"
	RootKey     = "root.key"
	TrustFile   = "trust.json"
	ServerCA    = "server-ca"
	AgentsCA    = "agents-ca"
	OperatorsCA = "operators-ca"
	Server      = "server"
)

// Operator returns the base name of an operator's files.
func Operator(name string) string { return "operator-" + name }

// Made is one file that was written, and what it is for.
type Made struct{ File, Purpose string }

// Create makes everything in dir, which may exist but must hold none of these files: the keys, the three roots, a
// server certificate for serverNames besides loopback, and a certificate for the operator. now is when they begin.
func Create(dir, operator string, serverNames []string, now time.Time) ([]Made, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keydir: %w", err)
	}
	var made []Made
	trustFile, err := createSigners(dir)
	if err != nil {
		return nil, err
	}
	if err := pki.WritePublic(filepath.Join(dir, TrustFile), trustFile); err != nil {
		return nil, err
	}
	made = append(made,
		Made{ReleaseKey, "signs releases; keep it where releases are made, never on the control plane"},
		Made{RootKey, "signs enrolment tokens; keep it offline"},
		Made{TrustFile, "public halves of both; goes to every host and the control plane"})
	for _, name := range []string{ServerCA, AgentsCA, OperatorsCA} {
		if _, err := pki.CreateCA(dir, name, now); err != nil {
			return made, err
		}
		made = append(made, Made{name + ".pem, " + name + ".key", "root of " + name[:len(name)-len("-ca")] + " certificates"})
	}
	if err := IssueServer(dir, serverNames, now); err != nil {
		return made, err
	}
	if err := IssueOperator(dir, operator, now); err != nil {
		return made, err
	}
	return append(made,
		Made{Server + ".pem, " + Server + ".key", "the control plane's TLS certificate"},
		Made{Operator(operator) + ".pem, " + Operator(operator) + ".key", "client certificate of operator " + operator}), nil
}

// createSigners makes the two signing keys and returns the trust file that names them.
func createSigners(dir string) ([]byte, error) {
	file := trust.File{}
	for _, k := range []struct {
		name string
		slot *trust.Slot
	}{{ReleaseKey, &file.CIRelease}, {RootKey, &file.OrgRoot}} {
		signer, err := pki.GenerateEd25519()
		if err != nil {
			return nil, err
		}
		if err := pki.SaveKey(filepath.Join(dir, k.name), signer); err != nil {
			return nil, err
		}
		pub, err := trust.PublicKey(signer)
		if err != nil {
			return nil, err
		}
		k.slot.Current = &pub
	}
	return file.Encode()
}

// IssueServer makes the control plane's certificate for loopback and the given DNS names and addresses.
func IssueServer(dir string, names []string, now time.Time) error {
	ca, err := pki.LoadCA(dir, ServerCA)
	if err != nil {
		return err
	}
	pair, err := ca.IssueServer(now, names...)
	if err != nil {
		return err
	}
	return writePair(dir, Server, pair)
}

// IssueOperator makes a certificate for the operator called name.
func IssueOperator(dir, name string, now time.Time) error {
	ca, err := pki.LoadCA(dir, OperatorsCA)
	if err != nil {
		return err
	}
	pair, err := ca.IssueOperator(name, now)
	if err != nil {
		return err
	}
	return writePair(dir, Operator(name), pair)
}

// IssueAgent signs a host's certificate request, in PEM, and returns the certificate in PEM and the host's name.
func IssueAgent(dir string, csr []byte, now time.Time) (certPEM []byte, hostname string, err error) {
	ca, err := pki.LoadCA(dir, AgentsCA)
	if err != nil {
		return nil, "", err
	}
	request, err := pki.ParseCSR(csr)
	if err != nil {
		return nil, "", err
	}
	certPEM, err = ca.IssueAgent(request, now)
	return certPEM, request.Hostname, err
}

// LoadReleaseKey reads the key that signs releases.
func LoadReleaseKey(dir string) (crypto.Signer, error) {
	return pki.LoadKey(filepath.Join(dir, ReleaseKey))
}

func writePair(dir, name string, pair pki.Pair) error {
	// The key first: a certificate whose key was never written could not be told from one whose key was lost.
	if err := pki.WritePrivate(filepath.Join(dir, name+".key"), pair.KeyPEM); err != nil {
		return err
	}
	return pki.WritePublic(filepath.Join(dir, name+".pem"), pair.CertPEM)
}
