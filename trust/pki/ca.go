package pki

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"time"

	"nixfleet/fleet"
)

// How long certificates live.
const (
	AgentLifetime    = 90 * 24 * time.Hour       // renewed below half of it
	OperatorLifetime = 365 * 24 * time.Hour      // people are asked once a year
	ServerLifetime   = 365 * 24 * time.Hour      // browsers accept little more
	CALifetime       = 10 * 365 * 24 * time.Hour // changing a root means touching every host
)

// backdate lets a host whose clock is behind accept a server that was set up a moment ago. Agent certificates are not
// backdated: a revocation compares with the time they were issued.
const backdate = time.Hour

const certificateType = "CERTIFICATE"

// CA signs the certificates of one role.
type CA struct {
	cert   *x509.Certificate
	signer crypto.Signer
}

// NewCA makes a root with a new ECDSA P-256 key, valid for ten years from now.
func NewCA(name string, now time.Time) (*CA, error) {
	key, err := GenerateP256()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(CALifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs leaves and no other CA
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, signer: key}, nil
}

// NewCAFrom takes a root whose key is elsewhere: signer may be an external command or hardware. Its public key must be
// the certificate's.
func NewCAFrom(certPEM []byte, signer crypto.Signer) (*CA, error) {
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%w: the key is not that of the certificate %q", ErrMalformed, cert.Subject.CommonName)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("%w: the certificate %q is not one of a CA", ErrMalformed, cert.Subject.CommonName)
	}
	return &CA{cert: cert, signer: signer}, nil
}

// CreateCA makes a root and writes it to dir/name.pem and dir/name.key. Neither may be there.
func CreateCA(dir, name string, now time.Time) (*CA, error) {
	ca, err := NewCA(name, now)
	if err != nil {
		return nil, err
	}
	// The key first: a certificate whose key was never written could not be told from one whose key was lost.
	if err := SaveKey(filepath.Join(dir, name+".key"), ca.signer); err != nil {
		return nil, err
	}
	if err := WritePublic(filepath.Join(dir, name+".pem"), ca.CertPEM()); err != nil {
		return nil, err
	}
	return ca, nil
}

// LoadCA reads what [CreateCA] wrote.
func LoadCA(dir, name string) (*CA, error) {
	key, err := LoadKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	data, err := readPublic(filepath.Join(dir, name+".pem"))
	if err != nil {
		return nil, err
	}
	return NewCAFrom(data, key)
}

// CertPEM returns the root's certificate.
func (ca *CA) CertPEM() []byte { return certPEM(ca.cert) }

// Pool returns a pool of this root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Pair is a certificate with its key, both in PEM.
type Pair struct{ CertPEM, KeyPEM []byte }

// IssueServer makes a TLS server's key and certificate for a year, good for 127.0.0.1, ::1, localhost and the given DNS
// names and addresses.
func (ca *CA) IssueServer(now time.Time, names ...string) (Pair, error) {
	key, err := GenerateP256()
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "nixfleet control plane"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(ServerLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if err := fleet.ValidateHostname(name); err != nil {
			return Pair{}, fmt.Errorf("pki: server name: %w", err)
		} else if !slices.Contains(template.DNSNames, name) {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return ca.pair(template, key)
}

// IssueOperator makes an operator's key and certificate for a year. name is shown in logs, 1 to 128 bytes.
func (ca *CA) IssueOperator(name string, now time.Time) (Pair, error) {
	if name == "" || len(name) > fleet.MaxName {
		return Pair{}, fmt.Errorf("pki: operator name of %d bytes, want 1 to %d", len(name), fleet.MaxName)
	}
	key, err := GenerateP256()
	if err != nil {
		return Pair{}, err
	}
	return ca.pair(clientTemplate(name, now.Add(-backdate), now.Add(OperatorLifetime)), key)
}

// IssueAgent signs what a host asked for with [NewCSR]: 90 days from now, not earlier, as a revocation compares with
// the time of issue. Whether the host may have it is the caller's to know.
func (ca *CA) IssueAgent(r Request, now time.Time) ([]byte, error) {
	if r.Hostname == "" || len(r.Pubkey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a request that ParseCSR has not made", ErrMalformed)
	}
	cert, err := sign(clientTemplate(r.Hostname, now, now.Add(AgentLifetime)), ca.cert, r.Pubkey, ca.signer)
	if err != nil {
		return nil, err
	}
	return certPEM(cert), nil
}

func clientTemplate(name string, notBefore, notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (ca *CA) pair(template *x509.Certificate, key crypto.Signer) (Pair, error) {
	cert, err := sign(template, ca.cert, key.Public(), ca.signer)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := MarshalKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{CertPEM: certPEM(cert), KeyPEM: keyPEM}, nil
}

func sign(template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	const serialBits = 127 // random, positive and within the 20 bytes of RFC 5280
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return cert, nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: cert.Raw})
}

// ParseCertificate reads the one certificate in PEM. Errors are of class [ErrMalformed].
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != certificateType || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%w: want exactly one PEM block %q", ErrMalformed, certificateType)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return cert, nil
}

// ErrRole is for a certificate that the pool of a role does not verify.
var ErrRole = errors.New("pki: the certificate is not of this role")

// VerifyClient says whether a client certificate was signed by a root of the pool and is valid now. The pool is the
// role. Errors are of class [ErrRole] and wrap what x509 found.
func VerifyClient(leaf *x509.Certificate, pool *x509.CertPool, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       pool,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrRole, leaf.Subject.CommonName, err)
	}
	return nil
}

// LoadPool reads a file of one or more root certificates in PEM.
func LoadPool(path string) (*x509.CertPool, error) {
	data, err := readPublic(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%w: %s has no certificate", ErrMalformed, path)
	}
	return pool, nil
}
