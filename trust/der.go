package trust

import (
	"encoding/asn1"
	"fmt"
	"math/big"
)

// ecdsaSignature is how ASN.1 writes an ECDSA signature; ours are r||s.
type ecdsaSignature struct{ R, S *big.Int }

func splitDER(der []byte) (r, s *big.Int, err error) {
	var sig ecdsaSignature
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: sign: the signer did not return an ASN.1 signature: %w", err)
	}
	const bits = p256Size * 8
	if len(rest) != 0 || sig.R == nil || sig.S == nil || sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > bits || sig.S.BitLen() > bits {
		return nil, nil, fmt.Errorf("trust: sign: the signer returned a signature out of range")
	}
	return sig.R, sig.S, nil
}

func joinDER(r, s *big.Int) ([]byte, error) {
	return asn1.Marshal(ecdsaSignature{r, s})
}
