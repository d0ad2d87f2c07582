// Package answer is what machines are answered by: what they boot from, made out of the
// settings, and the rules of the machines on record and their deployments, which boot and
// dhcp ask.
package answer
