; A stand-in for Microsoft's pxeboot.n12, the network boot program for BIOS. It does
; by the PXE API what that one does before it starts its boot manager: it reads the
; DHCP answer that the ROM keeps, fetches bootmgr.exe from beside itself, and the boot
; configuration by the path in DHCP option 252. It prints names and CRC-32s.
;
; Assembled with nasm -f bin. The ROM calls it at 0000:7C00 with the address of the
; !PXE structure on the stack (PXE 2.1 section 4.4.5).

        bits 16
        org 0x7c00

GET_CACHED_INFO equ 0x71                ; opcodes of the PXE API, PXE 2.1 section 3
TFTP_OPEN       equ 0x20
TFTP_CLOSE      equ 0x21
TFTP_READ       equ 0x22

BUFFER          equ 0x3000              ; segment of the file that is fetched

        mov bp, sp
        les bx, [bp+4]                  ; behind the return address
        cmp dword [es:bx], '!PXE'
        jne failed
        mov eax, [es:bx+16]             ; EntryPointSP
        xor dx, dx
        mov ds, dx
        mov [entry], eax
        cld

        mov cx, GET_CACHED_INFO
        mov di, cached
        call pxe
        les bx, [cached.buffer]
        mov eax, [es:bx+20]             ; siaddr
        mov [open.server], eax

        ; The folder of the boot file name, with bootmgr.exe behind it.
        mov si, text.file
        call print
        lea si, [bx+108]                ; file
        mov di, open.name
        mov dx, di                      ; behind the last slash
.copy:  es lodsb
        mov [di], al
        inc di
        cmp al, '/'
        jne .next
        mov dx, di
.next:  test al, al
        jnz .copy
        mov si, open.name
        call print
        mov di, dx
        mov si, text.second
        push es
        push ds
        pop es
        mov cx, text.second_end - text.second
        rep movsb
        pop es
        call fetch

        ; Option 252, behind the magic number.
        lea si, [bx+240]
.option:
        es lodsb
        cmp al, 255
        je failed
        test al, al
        jz .option
        mov ah, al
        es lodsb
        movzx cx, al
        cmp ah, 252
        je .found
        add si, cx
        jmp .option
.found: mov di, open.name
.path:  es lodsb
        mov [di], al
        inc di
        loop .path
        mov byte [di], 0
        call fetch

        mov si, text.done
        call print
.halt:  hlt
        jmp .halt

failed: mov si, text.failed
        call print
.halt:  hlt
        jmp .halt

; fetch gets the file open.name and prints its name and CRC-32.
fetch:  pushad
        push es
        mov si, text.asking
        call print
        mov si, open.name
        call print
        mov word [open.size], 1456
        mov cx, TFTP_OPEN
        mov di, open
        call pxe
        mov ebp, 0xffffffff             ; CRC
.block: mov cx, TFTP_READ
        mov di, read
        call pxe
        mov cx, [read.size]
        push cx
        mov ax, BUFFER
        mov es, ax
        xor si, si
        jcxz .last
.byte:  es lodsb
        movzx eax, al
        xor ebp, eax
        mov dl, 8
.bit:   shr ebp, 1
        jnc .zero
        xor ebp, 0xedb88320
.zero:  dec dl
        jnz .bit
        loop .byte
.last:  pop cx
        cmp cx, [open.size]
        je .block
        mov cx, TFTP_CLOSE
        mov di, close
        call pxe
        not ebp
        mov cx, 8
        mov si, text.space
        call print
.digit: rol ebp, 4
        mov bx, bp
        and bx, 15
        mov al, [text.digits+bx]
        call put
        loop .digit
        mov si, text.newline
        call print
        pop es
        popad
        ret

; pxe calls the API: opcode in CX, structure at DS:DI. A failure ends the program.
pxe:    pushad
        push es
        push ds
        push di
        push cx
        call far [entry]
        add sp, 6
        xor dx, dx
        mov ds, dx
        cld
        test ax, ax
        jnz failed
        pop es
        popad
        ret

; print prints the text at DS:SI, ended by a zero.
print:  pusha
.next:  lodsb
        test al, al
        jz .end
        call put
        jmp .next
.end:   popa
        ret

put:    pushad
        mov ah, 0x0e                    ; teletype output
        mov bx, 7
        int 0x10
        popad
        ret

text:
.file:    db "stand-in: started as ", 0
.second:  db "bootmgr.exe", 0
.second_end:
.asking:  db 13, 10, "stand-in: asking for ", 0
.space:   db " ", 0
.digits:  db "0123456789abcdef"
.newline: db 13, 10, 0
.done:    db "stand-in: done", 13, 10, 0
.failed:  db 13, 10, "stand-in: failed", 13, 10, 0

        align 4
entry:  dd 0
cached:                                 ; t_PXENV_GET_CACHED_INFO
        dw 0
        dw 3                            ; the answer with the boot file name
        dw 0                            ; no buffer of ours: the ROM says where its is
.buffer: dd 0
        dw 0
open:                                   ; t_PXENV_TFTP_OPEN
        dw 0
.server: dd 0
        dd 0
.name:  times 128 db 0
        db 0, 69                        ; port, big-endian
.size:  dw 0
read:                                   ; t_PXENV_TFTP_READ
        dw 0
        dw 0
.size:  dw 0
        dw 0, BUFFER
close:  dw 0
