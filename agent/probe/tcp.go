package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// maxHostname is the longest name DNS knows.
const maxHostname = 253

// tcpCheck passes when something accepts a connection.
type tcpCheck struct{ address string }

func parseTCP(o *strictjson.Object) (Check, time.Duration) {
	name, port := o.String("host"), uint64(0)
	if len(name) == 0 || len(name) > maxHostname {
		o.Fail("host", "want a name or an address of 1 to %d bytes", maxHostname)
	}
	if !o.Has("port") {
		o.Fail("port", "missing, want 1 to 65535")
	} else {
		port = number(o, "port", 0, 1, 65535)
	}
	return &tcpCheck{address: net.JoinHostPort(name, strconv.FormatUint(port, 10))},
		seconds(o, "connectTimeoutSecs", 5*time.Second, time.Second, MaxTimeout)
}

func (c *tcpCheck) Run(ctx context.Context) ([]host.SubResult, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("tcp: close: %w", err)
	}
	return nil, nil
}
