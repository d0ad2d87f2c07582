//go:build race

package receiver

// raceDetector tells tests that everything takes ten times as long.
const raceDetector = true
