package wire

import (
	"fmt"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// maxWaves bounds the waves of a policy: more would take a year at one a day.
const maxWaves = 1024

// AppendPolicy appends a policy: a captured one with its soakSeconds, a rollout policy with its waves.
func AppendPolicy(dst []byte, p *host.Policy) []byte {
	o := open(dst)
	if p.OnHealthFailure != host.NoPolicy {
		o.str("onHealthFailure", p.OnHealthFailure.String())
	}
	if p.HasSoak {
		o.uint("soakSeconds", p.SoakSeconds)
	} else {
		o.key("waves")
		o.buf = append(o.buf, '[')
		for i, soak := range p.WaveSoaks {
			wave := open(comma(o.buf, i))
			wave.uint("soakSeconds", soak)
			o.buf = wave.close()
		}
		o.buf = append(o.buf, ']')
	}
	o.uint("sustainedFailureSeconds", p.SustainedFailureSeconds)
	o.uint("activationTimeoutSeconds", p.ActivationTimeoutSeconds)
	if p.HealthGate != nil {
		o.raw("healthGate", p.HealthGate)
	}
	return o.close()
}

// DecodePolicy reads a rollout policy as a fleet states it, or a captured one, which has soakSeconds. onHealthFailure is
// required; durations that are absent have their defaults. Where soakSeconds is there the waves are not read.
func DecodePolicy(o *strictjson.Object) (host.Policy, error) {
	p := host.Policy{
		OnHealthFailure:          onFailure(o, "onHealthFailure"),
		SustainedFailureSeconds:  host.DefaultSustainedFailureSeconds,
		ActivationTimeoutSeconds: host.DefaultActivationTimeoutSeconds,
	}
	if o.Has("sustainedFailureSeconds") {
		p.SustainedFailureSeconds = o.Uint64("sustainedFailureSeconds")
	}
	if o.Has("activationTimeoutSeconds") {
		p.ActivationTimeoutSeconds = o.Uint64("activationTimeoutSeconds")
	}
	if o.Has("healthGate") {
		p.HealthGate = o.Value("healthGate").Raw
	}
	if p.HasSoak = o.Has("soakSeconds"); p.HasSoak {
		p.SoakSeconds = o.Uint64("soakSeconds")
	} else {
		p.WaveSoaks = waveSoaks(o)
	}
	if err := o.Err(); err != nil {
		return host.Policy{}, fmt.Errorf("wire: policy: %w", err)
	}
	return p, nil
}

// waveSoaks reads the soak of every wave in seconds; a wave's soakSeconds overrides its soakMinutes.
func waveSoaks(o *strictjson.Object) []uint64 {
	waves := o.OptObjects("waves")
	most(o, "waves", len(waves), maxWaves)
	var soaks []uint64
	for _, w := range waves {
		if w.Has("soakSeconds") {
			soaks = append(soaks, w.Uint64("soakSeconds"))
			continue
		}
		// Beyond the longest soak there is, minutes are as good as that; they must not overflow.
		soaks = append(soaks, min(w.Uint64("soakMinutes"), host.MaxSoakSeconds/60)*60)
	}
	return soaks
}
