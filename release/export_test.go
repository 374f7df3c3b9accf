package release

// Stopping gives a request whose writer asks before every change of the directory and stops with the error.
func Stopping(r Request, before func(step string) error) Request {
	r.before = before
	return r
}

// HostnameOf is how a line is indexed.
var HostnameOf = hostnameOf
