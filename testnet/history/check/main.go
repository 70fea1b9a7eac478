// Command check judges histories of meshes that were saved (see package
// history), and prints each broken promise.
//
//	check FILE...
package main

import (
	"fmt"
	"os"

	"github.com/hearth-edge/hearth/testnet/history"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: check FILE...")
		os.Exit(2)
	}
	broken := 0
	for _, path := range os.Args[1:] {
		h, err := read(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, "check:", err)
			os.Exit(2)
		}
		fmt.Printf("%s: %d requests, %d containers, %d faults in %v\n", path, len(h.Requests), len(h.Containers), len(h.Faults), h.Ended)
		for _, v := range history.Check(h) {
			fmt.Println(v)
			broken++
		}
	}
	if broken > 0 {
		os.Exit(1)
	}
}

func read(path string) (*history.History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := history.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}
