// Package resident puts the agent into an operating system that was installed, so
// that the run of a task sequence goes on there when it starts, and takes the agent
// out again at the end.
//
// Terms:
//
//   - the system is what was installed: a Windows, or a Linux with systemd. It is
//     below a folder: where its volume is mounted in the boot environment, or the top
//     of what runs;
//   - the agent's folder in it holds the program, what it has to know (the settings),
//     and, while it runs, its log. Nobody but the system and its administrators can
//     read it;
//   - the starter is what has the system start the agent: a service of Windows, a unit
//     of systemd.
//
// The settings have the ticket of the run and nothing else that is secret. The state
// of the run is not here but where it always is, between the partitions, sealed with
// a key that the server gives to who shows the ticket.
package resident
