package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"nixfleet/trust"
)

func TestAHostsSignatureIsOverAllButItself(t *testing.T) {
	_, key := signer(t, 1)
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	message := []byte(`{"hostname":"web-01","event":{"seq":1,"kind":"Converged"}}`)
	sig, err := trust.SignHost(key, message)
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]string{
		"as it was":                 string(message),
		"with its signature":        `{"hostname":"web-01","event":{"seq":1,"kind":"Converged"},"signature":"` + sig + `"}`,
		"in another order":          `{ "signature": null, "event": {"kind":"Converged","seq":1}, "hostname":"web-01" }`,
		"with any other signature":  `{"signature":{"x":1},"hostname":"web-01","event":{"seq":1,"kind":"Converged"}}`,
		"with keys written escaped": `{"\u0068ostname":"web-01","event":{"seq":1,"kind":"Converged"},"signatur\u0065":"x"}`,
	} {
		if err := trust.VerifyHost(pub, []byte(good), sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		message, sig string
		want         error
	}{
		"another host":     {`{"hostname":"web-02","event":{"seq":1,"kind":"Converged"}}`, sig, trust.ErrBadSignature},
		"a field more":     {`{"hostname":"web-01","event":{"seq":1,"kind":"Converged"},"x":1}`, sig, trust.ErrBadSignature},
		"a nested one":     {`{"hostname":"web-01","event":{"seq":1,"kind":"Converged","signature":"x"}}`, sig, trust.ErrBadSignature},
		"no hex":           {string(message), "zz" + sig[2:], trust.ErrBadSignature},
		"a short one":      {string(message), sig[:126], trust.ErrBadSignature},
		"none":             {string(message), "", trust.ErrBadSignature},
		"no object":        {`[1]`, sig, trust.ErrParse},
		"no JSON":          {`{`, sig, trust.ErrParse},
		"a duplicate key":  {`{"a":1,"a":1}`, sig, trust.ErrParse},
		"an unsafe number": {`{"seq":9007199254740993}`, sig, trust.ErrUnsafeInteger},
	} {
		if err := trust.VerifyHost(pub, []byte(c.message), c.sig); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := trust.VerifyHost(nil, message, sig); !errors.Is(err, trust.ErrKey) {
		t.Errorf("no key: %v", err)
	}
	if _, err := trust.SignHost(nil, message); !errors.Is(err, trust.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestAHostKeyIsReadAsOpenSSHWritesIt(t *testing.T) {
	key, err := trust.GenerateHostKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := trust.MarshalHostKey(key, "web-01")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, []byte("-----BEGIN OPENSSH PRIVATE KEY-----")) {
		t.Errorf("%s", data)
	}
	again, err := trust.ParseHostKey(data)
	if err != nil || !again.Equal(key) {
		t.Error(err)
	}
	line, err := trust.MarshalHostPubkey(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := trust.ParseHostPubkey(line + " root@web-01")
	if err != nil || !pub.Equal(key.Public()) || strings.HasSuffix(line, "\n") {
		t.Errorf("%q: %v", line, err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ssh.MarshalPrivateKey(other, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a passphrase": pem.EncodeToMemory(locked), "another algorithm": pem.EncodeToMemory(foreign), "half a key": data[:len(data)/2],
	} {
		if _, err := trust.ParseHostKey(data); !errors.Is(err, trust.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.ParseHostPubkey("ssh-rsa AAAA"); !errors.Is(err, trust.ErrKey) {
		t.Error(err)
	}
}

// The files in testdata were written by ssh-keygen.
func TestAKeyOfSSHKeygenIsRead(t *testing.T) {
	private, err := os.ReadFile("testdata/ssh_host_ed25519_key")
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile("testdata/ssh_host_ed25519_key.pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParseHostKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := trust.ParseHostPubkey(string(line))
	if err != nil || !pub.Equal(key.Public()) {
		t.Errorf("%v", err)
	}
}

func TestATokenLetsOneHostIn(t *testing.T) {
	rootPub, root := signer(t, 9)
	roots := &trust.File{OrgRoot: trust.Slot{Current: rootPub}}
	_, hostKey := signer(t, 3)
	pub, ok := hostKey.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	token, err := trust.MintToken(root, "web-01", pub, now.Add(500*time.Millisecond), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := trust.VerifyToken(token, roots, now)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Hostname != "web-01" || !claims.ExpiresAt.Equal(now.Add(time.Hour)) || claims.Nonce == "" {
		t.Errorf("%+v", claims)
	}
	if err := claims.Check("web-01", pub); err != nil {
		t.Error(err)
	}
	if err := claims.Check("web-02", pub); !errors.Is(err, trust.ErrTokenClaims) {
		t.Error(err)
	}
	if err := claims.Check("web-01", root.Public().(ed25519.PublicKey)); !errors.Is(err, trust.ErrTokenClaims) {
		t.Error(err)
	}
	other, err := trust.MintToken(root, "web-01", pub, now, time.Hour)
	if err != nil || bytes.Equal(other, token) {
		t.Errorf("two tokens share a nonce: %v", err)
	}
	late := &trust.File{OrgRoot: trust.Slot{Current: rootPub, RejectBefore: now.Add(time.Second)}}
	releaseOnly := &trust.File{CIRelease: trust.Slot{Current: rootPub}}
	stranger, _ := signer(t, 10)
	edit := func(old, with string) []byte { return []byte(strings.Replace(string(token), old, with, 1)) }
	for name, c := range map[string]struct {
		token []byte
		roots *trust.File
		at    time.Time
		want  error
	}{
		"the last moment":                  {token, roots, now.Add(time.Hour - 1), nil},
		"the moment after":                 {token, roots, now.Add(time.Hour), trust.ErrTokenExpired},
		"a minute before its time":         {token, roots, now.Add(-time.Minute), nil},
		"more than that":                   {token, roots, now.Add(-time.Minute - 1), trust.ErrFutureDated},
		"minted before rejectBefore":       {token, late, now, trust.ErrRejectedBefore},
		"another root":                     {token, &trust.File{OrgRoot: trust.Slot{Current: stranger}}, now, trust.ErrBadSignature},
		"the release key is no root":       {token, releaseOnly, now, trust.ErrNoTrustRoots},
		"another host in the claims":       {edit("web-01", "web-02"), roots, now, trust.ErrBadSignature},
		"version 2":                        {edit(`"version":1`, `"version":2`), roots, now, trust.ErrSchemaVersion},
		"a nonce of nothing":               {edit(`"nonce":"`+claims.Nonce, `"nonce":"`), roots, now, trust.ErrParse},
		"no JSON":                          {token[1:], roots, now, trust.ErrParse},
		"no base64":                        {edit(`"signature":"`, `"signature":"*`), roots, now, trust.ErrParse},
		"a token that is longer than that": {append(append([]byte(nil), token...), bytes.Repeat([]byte(" "), 9000)...), roots, now, trust.ErrParse},
	} {
		if got, err := trust.VerifyToken(c.token, c.roots, c.at); !errors.Is(err, c.want) || err != nil && got != (trust.Claims{}) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := trust.MintToken(root, "a b", pub, now, time.Hour); err == nil {
		t.Error("a host name that is none")
	}
	if _, err := trust.MintToken(root, "a", nil, now, time.Hour); !errors.Is(err, trust.ErrKey) {
		t.Error("no key")
	}
	for _, valid := range []time.Duration{0, -1, trust.MaxTokenValid + 1} {
		if _, err := trust.MintToken(root, "a", pub, now, valid); err == nil {
			t.Errorf("a token for %s", valid)
		}
	}
}

func FuzzToken(f *testing.F) {
	// From a file: every process of the fuzzer must take the same token for the genuine one.
	token, err := os.ReadFile("testdata/token.json")
	if err != nil {
		f.Fatal(err)
	}
	rootPub, _ := signer(f, 9)
	f.Add(token)
	f.Add([]byte(`{"version":1,"claims":{},"signature":""}`))
	roots := &trust.File{OrgRoot: trust.Slot{Current: rootPub}}
	genuine, err := trust.VerifyToken(token, roots, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		claims, err := trust.VerifyToken(data, roots, now)
		if err == nil && claims != genuine {
			t.Fatalf("a forged token is accepted: %s", data)
		}
		if err != nil && trust.Class(err) == "" {
			t.Fatalf("%v is of no class", err)
		}
	})
}
