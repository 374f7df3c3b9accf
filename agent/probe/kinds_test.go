package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The test program is the command that exec probes run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "play" {
		os.Exit(play(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func play(args []string) int {
	switch args[0] {
	case "exit":
		fmt.Print(args[1])
		return 3
	case "environment":
		fmt.Print(strings.Join(os.Environ(), "\n"))
		return 3
	case "flood":
		for range 100 {
			if _, err := os.Stdout.Write(make([]byte, 10<<10)); err != nil {
				return 99
			}
		}
		return 0
	case "hang": // with a child of its own, both waiting for the pipe that the test never writes
		child := exec.Command("/proc/self/exe", "play", "wait", args[1])
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 99
		}
		return play([]string{"wait", args[1]})
	case "leave": // a child behind, holding the output
		pipe, err := os.Open(args[1])
		if err != nil {
			return 99
		}
		child := exec.Command("/proc/self/exe", "play", "listen")
		child.Stdin, child.Stdout = pipe, os.Stdout
		if err := child.Start(); err != nil {
			return 99
		}
	case "listen":
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return 99
		}
	case "die":
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			return 99
		}
		select {}
	case "wait":
		if _, err := os.ReadFile(args[1]); err != nil {
			return 99
		}
	}
	return 0
}

func runs(t *testing.T, c Check) error {
	t.Helper()
	_, err := c.Run(t.Context())
	return err
}

func passes(t *testing.T, c Check) {
	t.Helper()
	if err := runs(t, c); err != nil {
		t.Errorf("failed: %v", err)
	}
}

// reason is what an operator reads of a run, "" for a pass.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return Reason(err.Error())
}

func failsWith(t *testing.T, c Check, want string) {
	t.Helper()
	if said := reason(runs(t, c)); !strings.Contains(said, want) {
		t.Errorf("got %q, want a failure with %q", said, want)
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { say(t, w, "all is well") })
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	for at, path := range map[int]string{bodyLimit - 4: "/within", bodyLimit - 3: "/beyond"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { say(t, w, strings.Repeat("x", at)+"well") })
	}
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	ok := func(c httpCheck) *httpCheck {
		if c.status == 0 {
			c.status = 200
		}
		return &c
	}

	passes(t, ok(httpCheck{url: plain.URL + "/ok"}))
	passes(t, ok(httpCheck{url: plain.URL + "/ok", contains: "is well"}))
	passes(t, ok(httpCheck{url: plain.URL + "/down", status: 503}))
	failsWith(t, ok(httpCheck{url: plain.URL + "/down"}), "http: status 503, want 200")
	failsWith(t, ok(httpCheck{url: plain.URL + "/ok", contains: "ill"}), `http: the first 11 bytes of the body do not contain "ill"`)
	passes(t, ok(httpCheck{url: plain.URL + "/within", contains: "well"}))
	failsWith(t, ok(httpCheck{url: plain.URL + "/beyond", contains: "well"}), "http: the first 65536 bytes of the body do not contain")

	failsWith(t, ok(httpCheck{url: plain.URL + "/moved"}), "http: status 302, want 200") // redirects are not followed
	passes(t, ok(httpCheck{url: plain.URL + "/moved", status: 302}))

	passes(t, ok(httpCheck{url: secure.URL + "/ok", roots: roots}))
	var unknown x509.UnknownAuthorityError
	if err := runs(t, ok(httpCheck{url: secure.URL + "/ok"})); !errors.As(err, &unknown) { // TLS is verified
		t.Errorf("got %v, want an unknown authority", err)
	}
}

func say(t *testing.T, w http.ResponseWriter, text string) {
	if _, err := w.Write([]byte(text)); err != nil {
		t.Log(err) // whoever asked has read enough
	}
}

func TestHTTPAnswersNothingEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
		cancel()
	}()
	_, err = (&httpCheck{url: "http://" + l.Addr().String(), status: 200}).Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := errors.Join((<-accepted).Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	check := &tcpCheck{address: l.Addr().String()}
	passes(t, check)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := runs(t, check); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
}

func command(t *testing.T, exit int, args ...string) *execCheck {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &execCheck{command: append([]string{exe, "play"}, args...), exit: exit}
}

func TestExec(t *testing.T) {
	t.Setenv("NIXFLEET_AGENT_SECRET", "hidden")
	passes(t, command(t, 0, "nothing"))
	passes(t, command(t, 3, "exit", "as wanted"))
	failsWith(t, command(t, 0, "exit", "two words"), "exec: exit 3, want 0: two words")
	failsWith(t, command(t, 1, "nothing"), "exec: exit 0, want 1")
	failsWith(t, command(t, 0, "die"), "exec: killed by killed")
	passes(t, command(t, 0, "flood")) // 1 MB of output blocks nobody
	if err := runs(t, &execCheck{command: []string{"/no/such/program"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no such file", err)
	}
	if said := reason(runs(t, command(t, 0, "environment"))); strings.Contains(said, "hidden") || !strings.Contains(said, "PATH=") {
		t.Errorf("the command saw %q", said)
	}
	failsWith(t, &execCheck{command: []string{"$(true)"}}, "$(true)") // no shell reads it
}

func TestOutputOfACommandIsCapped(t *testing.T) {
	h := &head{limit: 10}
	for range 3 {
		if n, err := h.Write([]byte("1234567")); n != 7 || err != nil {
			t.Fatal(n, err)
		}
	}
	if string(h.kept) != "1234567123" {
		t.Fatalf("kept %q", h.kept)
	}
}

// pipeOf makes a pipe and a function that returns once it has no reader left.
func pipeOf(t *testing.T) (path string, awaitReader, awaitNone func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var end *os.File
	awaitReader = func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		end = f
	}
	awaitNone = func() {
		fd := []unix.PollFd{{Fd: int32(end.Fd())}} // POLLERR comes when the last reader goes
		if n, err := unix.Poll(fd, 10_000); n != 1 || err != nil || fd[0].Revents&unix.POLLERR == 0 {
			t.Fatalf("somebody still reads: %d, %v", n, err)
		}
		if err := end.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path, awaitReader, awaitNone
}

func TestTheWholeProcessGroupOfACommandDiesWithItsContext(t *testing.T) {
	path, awaitReader, awaitNone := pipeOf(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { awaitReader(); cancel() }()
	_, err := command(t, 0, "hang", path).Run(ctx)
	if err == nil {
		t.Fatal("a command that was killed passed")
	}
	awaitNone()
}

func TestWhatACommandLeavesBehindIsKilled(t *testing.T) {
	path, awaitReader, awaitNone := pipeOf(t)
	opened := make(chan struct{})
	go func() { awaitReader(); close(opened) }()
	passes(t, command(t, 0, "leave", path))
	<-opened
	awaitNone()
}
