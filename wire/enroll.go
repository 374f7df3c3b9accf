package wire

import (
	"fmt"
	"time"

	"nixfleet/strictjson"
)

// EnrollRequest asks for a first certificate: with a token, or with an expired certificate of the same key.
type EnrollRequest struct {
	Token   []byte // raw JSON of the signed token, nil if the certificate is shown instead
	CertPEM string // the expired certificate, "" with a token
	CSRPEM  string
}

// Encode gives the body of the request.
func (r *EnrollRequest) Encode() []byte {
	o := open(nil)
	if r.Token != nil {
		o.raw("token", r.Token)
	}
	o.optStr("certPem", r.CertPEM)
	o.str("csrPem", r.CSRPEM)
	return o.close()
}

// DecodeEnrollRequest reads the request. One with both a token and a certificate, or with neither, is refused.
func DecodeEnrollRequest(data []byte) (EnrollRequest, error) {
	o, err := parse(data)
	if err != nil {
		return EnrollRequest{}, fmt.Errorf("wire: enroll request: %w", err)
	}
	r := EnrollRequest{CertPEM: optText(o, "certPem", MaxPEM), CSRPEM: named(o, "csrPem", MaxPEM)}
	if o.Has("token") {
		v := o.Value("token")
		if v.Kind != strictjson.Map {
			o.Fail("token", "want an object, got %s", v.Kind)
		}
		r.Token = v.Raw
	}
	if (r.Token == nil) == (r.CertPEM == "") {
		o.Fail("token", "want a token or a certPem, one of the two")
	}
	if err := o.Err(); err != nil {
		return EnrollRequest{}, fmt.Errorf("wire: enroll request: %w", err)
	}
	return r, nil
}

// RenewRequest asks for a certificate to follow the one it is sent under.
type RenewRequest struct{ CSRPEM string }

// Encode gives the body of the request.
func (r *RenewRequest) Encode() []byte {
	o := open(nil)
	o.str("csrPem", r.CSRPEM)
	return o.close()
}

// DecodeRenewRequest reads the request.
func DecodeRenewRequest(data []byte) (RenewRequest, error) {
	o, err := parse(data)
	if err != nil {
		return RenewRequest{}, fmt.Errorf("wire: renew request: %w", err)
	}
	r := RenewRequest{CSRPEM: named(o, "csrPem", MaxPEM)}
	if err := o.Err(); err != nil {
		return RenewRequest{}, fmt.Errorf("wire: renew request: %w", err)
	}
	return r, nil
}

// EnrollAnswer is the certificate that answers an enrolment or a renewal.
type EnrollAnswer struct {
	CertPEM  string
	NotAfter time.Time
}

// Encode gives the body of the answer.
func (a *EnrollAnswer) Encode() []byte {
	o := open(nil)
	o.str("certPem", a.CertPEM)
	o.time("notAfter", a.NotAfter)
	return o.close()
}

// DecodeEnrollAnswer reads the answer to an enrolment or a renewal.
func DecodeEnrollAnswer(data []byte) (EnrollAnswer, error) {
	o, err := parse(data)
	if err != nil {
		return EnrollAnswer{}, fmt.Errorf("wire: enroll answer: %w", err)
	}
	a := EnrollAnswer{CertPEM: named(o, "certPem", MaxPEM), NotAfter: o.Time("notAfter")}
	if err := o.Err(); err != nil {
		return EnrollAnswer{}, fmt.Errorf("wire: enroll answer: %w", err)
	}
	return a, nil
}
