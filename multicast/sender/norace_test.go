//go:build !race

package sender

// raceDetector tells tests that everything takes ten times as long.
const raceDetector = false
