// Package history judges what a mesh did while things went wrong. A History is
// what apps asked and were told, which containers really started and ended (by
// the engines' word, not hearth's), and which faults there were. Check finds
// each promise of the design's section on delivery that was broken. It sees
// nothing but the History: one that was saved can be judged again,
//
//	go run ./testnet/history/check FILE
//
// and a test may write one by hand. A Recorder takes one down while it happens.
package history
