package reaper

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Starter returns a function that starts program with args as the reaper of the
// folder where none runs; it may be called concurrently. What it starts goes on
// when this process ends.
func Starter(dir, program string, args []string) func() error {
	var (
		mu     sync.Mutex
		latest time.Time
		ended  = make(chan struct{}) // of the latest one
	)
	close(ended)
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		running, err := Running(dir)
		if running || err != nil {
			return err
		}
		select {
		case <-ended:
		default:
			if time.Since(latest) < lockTimeout {
				return nil // it is about to take the lock
			}
		}
		cmd := exec.Command(program, args...)
		cmd.Args[0] = "hearth" // what lists of processes show
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not for it
		if err := cmd.Start(); err != nil {
			return err
		}
		done := make(chan struct{})
		latest, ended = time.Now(), done
		go func() { // reaps it; ends with the reaper, or with this process
			defer close(done)
			_ = cmd.Wait()
		}()
		return nil
	}
}
