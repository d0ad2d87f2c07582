package bootfile

import "bytes"

// localMessage is what the machine's screen says, ended by a zero byte.
const localMessage = "castpoint: nothing to do here, going on to the disk\r\n\x00"

// localProgram is a network boot program for BIOS that prints localMessage and
// gives control back. The PXE ROM then removes itself and the BIOS takes its next
// boot device (PXE 2.1 section 4.4.2: the program is entered by a far call at
// 0000:7C00 with CS:IP in real mode; AX = 0 on return is PXENV_EXIT_SUCCESS).
// Microsoft's abortpxe.com does the same.
//
// All registers it changes but AX are saved: BIOS teletype output may change BP,
// and the ROM may keep things in the others.
func localProgram() []byte {
	code := []byte{
		0x60,       // pusha
		0x1e,       // push ds
		0x0e,       // push cs
		0x1f,       // pop ds             ; the text is beside the code
		0xfc,       // cld
		0xe8, 0, 0, // call next          ; pushes its own address, wherever it was loaded
		0x5e,          // next: pop si
		0x83, 0xc6, 0, // add si, text-next  ; filled in below
		0xac,       // again: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x09, // jz done
		0xb4, 0x0e, // mov ah, 0x0e       ; teletype output
		0xbb, 0x07, 0x00, // mov bx, 0x0007  ; page 0, light grey
		0xcd, 0x10, // int 0x10
		0xeb, 0xf2, // jmp again
		0x1f,       // done: pop ds
		0x61,       // popa
		0x31, 0xc0, // xor ax, ax         ; PXENV_EXIT_SUCCESS
		0xcb, // retf
	}
	const next, displacement = 8, 11
	code[displacement] = byte(len(code) - next)
	return bytes.Join([][]byte{code, []byte(localMessage)}, nil)
}
