// Package sequence is the format of task sequences: the steps that turn a machine
// without an operating system into a finished one. It reads and checks the YAML
// that people write, and has the types that server and agent exchange; it runs
// nothing and knows nothing else of castpoint.
//
// Terms:
//
//   - a step does one thing, said by its action (partition-disk, apply-image, ...);
//   - a group is a step that has steps instead of an action;
//   - a leaf is a step with an action, with its number among all leaves of the
//     sequence and its path, the positions from the top, as in "2/1/3";
//   - a variable has a name and a text; ${NAME} in a text of a step is replaced by
//     it when the step begins;
//   - a condition is an expression over variables and facts of the machine;
//   - a volume is a partition of an earlier partition-disk step, by its name there.
//
// Every type has the same field names in YAML, in JSON and in the schema.
package sequence
