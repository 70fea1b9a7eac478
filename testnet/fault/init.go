package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// reap is the first process of a PID namespace: it says READY and collects the
// orphans. When it is killed, the kernel kills the whole namespace.
func reap() error {
	if os.Getpid() != 1 {
		return errors.New("init is for the first process of a PID namespace")
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	fmt.Println("READY")
	for range ended {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if pid <= 0 {
				break
			}
		}
	}
	return nil
}
