package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/docker/cli/pkg/kvfile"
)

// maxEnvFile is the most that a file of variables holds, in bytes. A longer one
// is an error: a service is not larger.
const maxEnvFile = 1 << 20

// environment joins --env-file and -e; the later one of a name wins.
func (f *runFlags) environment() ([]string, error) {
	var env []string
	for _, file := range f.envFiles {
		read, err := readEnvFile(file)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		env = append(env, read...)
	}
	for _, e := range f.env {
		name, _, hasValue := strings.Cut(e, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: not of the form K=V", e)
		}
		if !hasValue {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue // as docker does: an unset variable is not passed on
			}
			e = name + "=" + value
		}
		env = append(env, e)
	}
	return env, nil
}

// readEnvFile reads variables as docker does, by docker's own code: a BOM and
// blanks before a name are dropped, a value is kept as it is, its blanks and
// quotes too, and a name alone takes this command's variable, if that is set.
func readEnvFile(name string) ([]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxEnvFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxEnvFile {
		return nil, fmt.Errorf("%s: it is longer than %d bytes, and more than that cannot be passed on", name, maxEnvFile)
	}
	if line := firstInvalid(data); line > 0 {
		return nil, fmt.Errorf("%s:%d: not valid UTF-8", name, line)
	}
	env, err := kvfile.ParseFromReader(bytes.NewReader(data), os.LookupEnv)
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("a line is longer than %d bytes", bufio.MaxScanTokenSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, shortened(err))
	}
	return env, nil
}

// firstInvalid returns the first line that is not UTF-8; 0 is none.
func firstInvalid(data []byte) int {
	for n := 1; len(data) > 0; n++ {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if !utf8.Valid(line) {
			return n
		}
		data = rest
	}
	return 0
}

// shortened bounds an error that quotes a whole line.
func shortened(err error) error {
	const most = 200
	if text := err.Error(); len(text) > most {
		return errors.New(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return err
}
