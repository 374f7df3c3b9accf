package core

import (
	"fmt"

	"nixfleet/rollout"
)

// The kinds of rows of a rollout's machine.
const (
	kindRolloutOpened     = "RolloutOpened"
	kindHostJoined        = "HostJoined"
	kindWaveDone          = "WaveDone"
	kindWaveAdvanced      = "WaveAdvanced"
	kindAllConverged      = "AllConverged"
	kindHostReverted      = "HostReverted"
	kindHostFailed        = "HostFailed"
	kindOperatorClearance = "OperatorClearance"
	kindSuccessorOpened   = "SuccessorOpened"
	kindRetentionExpired  = "RetentionExpired"
)

// encodeRollout fills the members that an event of a rollout has and gives its kind. The rollout itself is a column
// of the row.
func (b *factBody) encodeRollout(e rollout.Event) (string, error) {
	switch e := e.(type) {
	case rollout.RolloutOpened:
		b.Channel, b.Waves, b.At = e.Channel, e.Waves, e.At
		return kindRolloutOpened, nil
	case rollout.HostJoined:
		b.Host, b.At = e.Host, e.At
		return kindHostJoined, nil
	case rollout.WaveDone:
		b.Wave, b.At = e.Wave, e.At
		return kindWaveDone, nil
	case rollout.WaveAdvanced:
		b.Wave, b.At = e.To, e.At
		return kindWaveAdvanced, nil
	case rollout.AllConverged:
		b.At = e.At
		return kindAllConverged, nil
	case rollout.HostReverted:
		b.Host, b.At = e.Host, e.At
		return kindHostReverted, nil
	case rollout.HostFailed:
		b.Host, b.At = e.Host, e.At
		return kindHostFailed, nil
	case rollout.OperatorClearance:
		b.Hosts, b.Waive, b.By, b.Reason, b.At = e.Hosts, e.WaiveWave, e.By, e.Reason, e.At
		return kindOperatorClearance, nil
	case rollout.SuccessorOpened:
		b.Successor, b.At = e.Successor, e.At
		return kindSuccessorOpened, nil
	case rollout.RetentionExpired:
		b.At = e.At
		return kindRetentionExpired, nil
	}
	return "", fmt.Errorf("core: %w: %T", rollout.ErrUnknownEvent, e)
}

// decodeRollout is the inverse; RolloutOpened gets its id from the row.
func (b *factBody) decodeRollout(kind string) (rollout.Event, bool) {
	switch kind {
	case kindRolloutOpened:
		return rollout.RolloutOpened{Channel: b.Channel, Waves: b.Waves, At: b.At}, true
	case kindHostJoined:
		return rollout.HostJoined{Host: b.Host, At: b.At}, true
	case kindWaveDone:
		return rollout.WaveDone{Wave: b.Wave, At: b.At}, true
	case kindWaveAdvanced:
		return rollout.WaveAdvanced{To: b.Wave, At: b.At}, true
	case kindAllConverged:
		return rollout.AllConverged{At: b.At}, true
	case kindHostReverted:
		return rollout.HostReverted{Host: b.Host, At: b.At}, true
	case kindHostFailed:
		return rollout.HostFailed{Host: b.Host, At: b.At}, true
	case kindOperatorClearance:
		return rollout.OperatorClearance{Hosts: b.Hosts, WaiveWave: b.Waive, By: b.By, Reason: b.Reason, At: b.At}, true
	case kindSuccessorOpened:
		return rollout.SuccessorOpened{Successor: b.Successor, At: b.At}, true
	case kindRetentionExpired:
		return rollout.RetentionExpired{At: b.At}, true
	}
	return nil, false
}
