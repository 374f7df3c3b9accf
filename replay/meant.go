package replay

import (
	"bytes"
	"encoding/json"
)

// meantAsState says whether a line that is not strict JSON, or not JSON to its end, has "state" among the keys of its
// outermost object, as far as it can be read.
func meantAsState(line []byte) bool {
	d := json.NewDecoder(bytes.NewReader(line))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	depth, isKey := 0, true
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if depth == 0 && isKey && token == "state" {
			return true
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth < 0 {
			return false
		}
		if depth == 0 {
			isKey = !isKey
		}
	}
}
