package probe

import (
	"time"

	"nixfleet/strictjson"
)

// kind is one way to check, as declared: its fields beside the common ones, and how they become a check and the
// time one run of it may take. parse reports what is wrong through the object's Fail.
type kind struct {
	name   string
	fields []string
	parse  func(o *strictjson.Object) (Check, time.Duration)
}

// kinds are all there are.
var kinds = []kind{
	{"exec", []string{"command", "expectExitCode", "timeoutSecs"}, parseExec},
	{"http", []string{"url", "expectStatus", "bodyContains", "timeoutSecs"}, parseHTTP},
	{"tcp", []string{"host", "port", "connectTimeoutSecs"}, parseTCP},
}

func kindNames() []string {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}
