package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"

	"nixfleet/fleet"
)

const (
	requestType = "CERTIFICATE REQUEST"
	maxRequest  = 16 << 10 // bytes of a request in PEM; ours has 500
)

// Request is a certificate request whose own signature was checked: its sender has the key.
type Request struct {
	Hostname string
	Pubkey   ed25519.PublicKey
}

// NewCSR makes the request of a host, signed with its SSH host key, in PEM.
func NewCSR(key ed25519.PrivateKey, hostname string) ([]byte, error) {
	if err := fleet.ValidateHostname(hostname); err != nil {
		return nil, fmt.Errorf("pki: request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: hostname}}, key)
	if err != nil {
		return nil, fmt.Errorf("pki: request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: requestType, Bytes: der}), nil
}

// ParseCSR reads a request of at most 16 KiB and checks that it is signed with the key it is for, which must be
// Ed25519, and that its CN is a host name. Whatever else it asks for is not granted. Errors are of class
// [ErrMalformed].
func ParseCSR(data []byte) (Request, error) {
	if len(data) > maxRequest {
		return Request{}, fmt.Errorf("%w: request of %d bytes, at most %d allowed", ErrMalformed, len(data), maxRequest)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != requestType {
		return Request{}, fmt.Errorf("%w: no PEM block %q", ErrMalformed, requestType)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Request{}, fmt.Errorf("%w: request: %w", ErrMalformed, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return Request{}, fmt.Errorf("%w: request: %w", ErrMalformed, err)
	}
	pub, ok := csr.PublicKey.(ed25519.PublicKey)
	if !ok {
		return Request{}, fmt.Errorf("%w: request for a key of type %T, want Ed25519", ErrMalformed, csr.PublicKey)
	}
	if err := fleet.ValidateHostname(csr.Subject.CommonName); err != nil {
		return Request{}, fmt.Errorf("%w: request: CN: %w", ErrMalformed, err)
	}
	return Request{Hostname: csr.Subject.CommonName, Pubkey: pub}, nil
}

// AgentCertificate joins a certificate in PEM with the host key it was issued for, ready for TLS.
func AgentCertificate(certPEM []byte, key ed25519.PrivateKey) (tls.Certificate, error) {
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || !pub.Equal(key.Public()) {
		return tls.Certificate{}, fmt.Errorf("%w: the certificate of %q is not for this host's key", ErrMalformed, cert.Subject.CommonName)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}
