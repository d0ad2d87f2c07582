// Package logging is the log of castpoint serve: its format, the levels of its loggers, by
// the settings and by the admin API, and the names of machines in its lines, by which one
// machine can be followed through all parts.
package logging
