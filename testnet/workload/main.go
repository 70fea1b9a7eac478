// Command workload is what the containers of tests and demonstrations run: one
// static program that needs nothing else in its image.
//
//	workload echo WORD...       prints the words
//	workload exit CODE          ends with the exit code
//	workload sleep DURATION     waits
//	workload burn DURATION      keeps one core busy
//	workload work DURATION      uses so much processor time, however long that takes
//	workload cat                copies its input to its output
//	workload output BYTES CODE  writes so many pseudo-random bytes, and their
//	                            SHA-256 to the standard error; ends with the code
//	workload primes N           counts the primes below N
//	workload env NAME [DURATION] prints a variable, and waits
//	workload dial ADDRESS...    tries to connect to each, speaks as a libp2p host
//	                            would begin, and prints what it was told
//	workload count ADDRESS FILE answers HTTP with a number, one more each time, and
//	                            keeps it in the file
//	workload serve ADDRESS BACKEND answers HTTP with what the backend says, and with
//	                            its own name
//	workload lines N EVERY CODE writes N lines, the host's name and a number each
//	                            (see history.Line), waits after each, and ends
//	                            with the code
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"echo"}
	}
	code, err := do(args[0], args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "workload: %v\n", err)
		code = 2
	}
	os.Exit(code)
}

func do(verb string, args []string) (exitCode int, err error) {
	first := strings.Join(args, " ")
	switch verb {
	case "echo":
		_, err = fmt.Println(first)
	case "exit":
		return strconv.Atoi(first)
	case "sleep":
		var d time.Duration
		if d, err = time.ParseDuration(first); err == nil {
			time.Sleep(d)
		}
	case "burn":
		var d time.Duration
		if d, err = time.ParseDuration(first); err == nil {
			for end := time.Now().Add(d); time.Now().Before(end); {
			}
		}
	case "work":
		var d, used time.Duration
		for d, err = time.ParseDuration(first); err == nil && used < d; {
			used, err = processorTime()
		}
	case "cat":
		_, err = io.Copy(os.Stdout, os.Stdin)
	case "output":
		if len(args) != 2 {
			return 0, errors.New("output takes BYTES and CODE")
		}
		if err = output(args[0]); err == nil {
			return strconv.Atoi(args[1])
		}
	case "lines":
		if len(args) != 3 {
			return 0, errors.New("lines takes N, EVERY and CODE")
		}
		if err = lines(args[0], args[1]); err == nil {
			return strconv.Atoi(args[2])
		}
	case "count", "serve":
		if len(args) != 2 {
			return 0, fmt.Errorf("%s takes an ADDRESS and one thing more", verb)
		}
		if verb == "count" {
			return 0, count(args[0], args[1])
		}
		return 0, serve(args[0], args[1])
	case "primes":
		err = primes(first)
	case "dial":
		for _, address := range args {
			fmt.Printf("%s %s\n", address, dial(address))
		}
	case "env":
		if len(args) == 0 {
			return 0, errors.New("env takes the NAME of a variable")
		}
		if _, err = fmt.Println(os.Getenv(args[0])); err == nil && len(args) > 1 {
			return do("sleep", args[1:])
		}
	default:
		err = fmt.Errorf("no such verb: %q", verb)
	}
	return 0, err
}

// processorTime returns how much this process has used.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func output(count string) error {
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	hash := sha256.New()
	source := io.LimitReader(rand.NewChaCha8([32]byte{}), n)
	if _, err := io.Copy(io.MultiWriter(os.Stdout, hash), source); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stderr, "%x\n", hash.Sum(nil))
	return err
}

func lines(count, every string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	for i := 0; i < n && err == nil; i++ {
		if _, err = fmt.Printf("%.12s %06d\n", host, i); err == nil {
			time.Sleep(pause)
		}
	}
	return err
}

func primes(below string) error {
	n, err := strconv.Atoi(below)
	if err != nil {
		return err
	}
	start, found := time.Now(), 0
	composite := make([]bool, max(n, 0))
	for i := 2; i < n; i++ {
		if composite[i] {
			continue
		}
		found++
		for j := i * i; j < n; j += i {
			composite[j] = true
		}
	}
	host, _ := os.Hostname()
	_, err = fmt.Printf("%d primes below %d, counted in %v by container %s\n", found, n, time.Since(start).Round(time.Millisecond), host)
	return err
}

// dial returns what who listens at the address says, or why nobody does.
func dial(address string) string {
	const patience = 2 * time.Second
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "closed: " + err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "\x13/multistream/1.0.0\n\x07/noise\n\x12/hearth/app/1.0.0\n"); err != nil {
		return "open: " + err.Error()
	}
	told, _ := io.ReadAll(c)
	return fmt.Sprintf("open: %q", told)
}
