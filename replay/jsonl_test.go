package replay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"nixfleet/replay"
)

var rewrite = flag.Bool("rewrite", false, "write what came out into the scripts of testdata")

// TestScripts feeds testdata/*.txt line by line. Lines of a script that start with "< " are output, written by
// -rewrite and reviewed as a diff; lines with # are for the reader; all others, blank ones too, are input.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := converse(t, string(script))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("the conversation went another way (go test ./replay -rewrite, then look at the diff):\n%s", got)
			}
		})
	}
}

// converse writes the script with what each input line gives. The output of a prefix of the input is a prefix of the
// output, so it is enough to run ever longer ones.
func converse(t *testing.T, script string) string {
	var out, input strings.Builder
	said := 0
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "< ") {
			continue
		}
		out.WriteString(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		input.WriteString(line)
		answers, _ := run(t, input.String())
		for answer := range strings.Lines(answers[said:]) {
			out.WriteString("< " + answer)
		}
		said = len(answers)
	}
	return out.String()
}

func run(t *testing.T, input string) (string, bool) {
	t.Helper()
	var out bytes.Buffer
	malformed, err := replay.JSONL(strings.NewReader(input), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), malformed
}

const (
	stateLine = `{"state":{"rolloutId":"stable@abc","hostname":"web-01","channel":"stable","state":"Pending","targetClosure":"n","dispatchedAt":"2026-03-01T12:00:00Z","lastEventSeq":0},"policy":{"onHealthFailure":"halt","soakSeconds":60}}`
	ackLine   = `{"event":{"kind":"LocalActivate","currentClosureAtDispatch":"o","receivedAt":"2026-03-01T12:00:01Z","seq":1}}`
)

func TestARefusalIsNotMalformed(t *testing.T) {
	out, malformed := run(t, stateLine+"\n"+ackLine+"\n"+ackLine+"\n")
	if malformed || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"error":"seq-regression"`) {
		t.Errorf("malformed %v:\n%s", malformed, out)
	}
}

func TestALastLineWithoutItsEndIsALine(t *testing.T) {
	out, malformed := run(t, stateLine+"\n"+ackLine)
	if malformed || strings.Count(out, "\n") != 1 {
		t.Errorf("malformed %v:\n%s", malformed, out)
	}
}

func TestATooLongLineIsMalformedAndTheNextIsReadAsUsual(t *testing.T) {
	long := `{"event":{"kind":"LocalActivate","x":"` + strings.Repeat("x", replay.MaxLine) + `"}}`
	out, malformed := run(t, stateLine+"\n"+long+"\n"+ackLine+"\n")
	lines := strings.Split(out, "\n")
	if !malformed || len(lines) != 3 || !strings.Contains(lines[0], `"malformed"`) || !strings.HasPrefix(lines[1], `{"ok":true`) {
		t.Errorf("malformed %v:\n%s", malformed, out)
	}
}

func TestATooLongStateLineLeavesNoRecordBehind(t *testing.T) {
	long := `{"policy":{"a":[{}]},"state":{"hostname":"` + strings.Repeat("x", replay.MaxLine) + `"}}`
	out, _ := run(t, stateLine+"\n"+long+"\n"+ackLine+"\n")
	if strings.Count(out, `"error":"malformed"`) != 2 {
		t.Error(out)
	}
}

func TestALineOfExactlyTheBoundIsRead(t *testing.T) {
	padded := ackLine + strings.Repeat(" ", replay.MaxLine-len(ackLine))
	if out, malformed := run(t, stateLine+"\n"+padded+"\n"); malformed {
		t.Error(out)
	}
	if out, malformed := run(t, stateLine+"\n"+padded+" \n"); !malformed {
		t.Error(out)
	}
}

func TestAnswersDoNotWaitForMoreInput(t *testing.T) {
	toReplay, input := io.Pipe()
	output, fromReplay := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := replay.JSONL(toReplay, fromReplay)
		done <- errors.Join(err, fromReplay.Close())
	}()
	if _, err := io.WriteString(input, stateLine+"\n"+ackLine+"\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 10)
	if _, err := io.ReadFull(output, answer); err != nil || string(answer) != `{"ok":true` {
		t.Errorf("%q %v", answer, err)
	}
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, output); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestErrorsOfReaderAndWriterAreReported(t *testing.T) {
	broken := errors.New("broken")
	if _, err := replay.JSONL(iotest.ErrReader(broken), io.Discard); !errors.Is(err, broken) {
		t.Errorf("reader: %v", err)
	}
	if _, err := replay.JSONL(strings.NewReader(stateLine+"\n"+ackLine), failing{broken}); !errors.Is(err, broken) {
		t.Errorf("writer: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzJSONL holds any input to the form of the output: JSON on every line, in one of the two shapes, no more lines than
// came in, and the same again for the same input.
func FuzzJSONL(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(script)) { // small seeds: a large one takes the fuzzer long to shrink
			if line[0] != '<' && line[0] != '#' {
				f.Add([]byte(stateLine + "\n" + line))
			}
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		out, malformed := run(t, string(input))
		again, _ := run(t, string(input))
		if out != again {
			t.Fatal("the same input gave two outputs")
		}
		lines, sawMalformed := 0, false
		for line := range strings.Lines(out) {
			lines++
			var answer struct {
				OK      *bool
				State   json.RawMessage
				Effects []json.RawMessage
				Error   string
				Detail  string
			}
			if err := json.Unmarshal([]byte(line), &answer); err != nil || answer.OK == nil {
				t.Fatalf("answer %q: %v", line, err)
			}
			if *answer.OK != (answer.State != nil && len(answer.Effects) > 0) || *answer.OK == (answer.Error != "") {
				t.Fatalf("answer of no shape: %s", line)
			}
			sawMalformed = sawMalformed || answer.Error == "malformed"
		}
		if sawMalformed != malformed || lines > bytes.Count(input, []byte("\n"))+1 {
			t.Fatalf("%d answers, malformed %v, said %v", lines, sawMalformed, malformed)
		}
	})
}
