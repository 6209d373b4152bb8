package image

// The file around the payload. docs/image.md draws it.
const (
	// PageSize is the unit of everything's place in file and memory.
	PageSize = 4096

	// PayloadOffset is where the boot page lies in the file: physical address
	// a is at offset a - bootinfo.LoadBase + PayloadOffset. Before it is one
	// page of ELF headers and the note.
	PayloadOffset = PageSize

	// NoteName and NotePVH are the owner and type of the ELF note whose
	// descriptor, 4 bytes, is the physical address of the 32-bit entry
	// (XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h).
	NoteName = "Xen\x00"
	NotePVH  = 18

	// SectionFiles is the ELF section with the list of files, JSON of
	// []File. It is for people and not loaded into the guest.
	SectionFiles = ".kiln.files"
)
