// Package block says what the blocks of a session are, and nothing about how they are
// sent.
//
//   - a layout cuts objects into blocks and numbers them through all objects;
//   - a geometry cuts blocks into symbols;
//   - a code computes repair symbols of a block, and rebuilds what was lost of it;
//   - sets of blocks, and of the symbols of one block, are bitmaps.
package block
