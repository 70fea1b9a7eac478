package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serve answers each request with what the backend says, and with its own name.
func serve(address, backend string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	host, _ := os.Hostname()
	return listen(address, func() (string, error) {
		resp, err := client.Get("http://" + backend)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Sprintf("visit %s, by container %s", strings.TrimSpace(string(said)), host), err
	})
}

// count answers each request with a number, one more each time, and keeps it in a
// file.
func count(address, file string) error {
	var mu sync.Mutex // guards the file
	return listen(address, func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		text, _ := os.ReadFile(file)
		n, _ := strconv.Atoi(string(text))
		next := strconv.Itoa(n + 1)
		return next, os.WriteFile(file, []byte(next), 0o600)
	})
}

// listen serves HTTP until the process is ended.
func listen(address string, answer func() (string, error)) error {
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, err := answer()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintln(w, text)
	})
	return server.ListenAndServe()
}
