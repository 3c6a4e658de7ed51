# lepton.mk: what a firmware's Makefile needs of lepton-cc. Set LEPTON to the folder of this file, then include it:
#
#   LEPTON := $(shell python3 -c "import lepton_cc.runtime_c as r; print(r.__path__[0])")
#   include $(LEPTON)/lepton.mk
#
#   firmware: $(LEPTON_NPU_DRIVER) ...      the driver and lepton_npu_invoke, for every target
#   twin:     $(LEPTON_HOST_BOARD) ...      the same firmware on the host, engine included
#
# Files are compiled as C99 with LEPTON_CFLAGS; those of the host's board also with LEPTON_HOST_CFLAGS.

LEPTON_CFLAGS := -std=c99 -I$(LEPTON)/include
LEPTON_NPU_DRIVER := $(sort $(wildcard $(LEPTON)/npu/driver/*.c))

# A board of the emulated control core: start-up code, console, bus. Its linker script includes memory.ld.
LEPTON_CORE_CFLAGS := -ffreestanding -fno-builtin -I$(LEPTON)/boards/control_core
LEPTON_CORE_LDFLAGS := -nostdlib -static -Wl,--gc-sections -T $(LEPTON)/boards/control_core/link.ld
LEPTON_CORE_BOARD := $(addprefix $(LEPTON)/boards/,control_core/start.S control_core/main.c \
	control_core/application.c control_core/npu_bus.c memory.c)

# The host: an emulated engine behind the same driver. -ffp-contract=off keeps its sums exact.
LEPTON_HOST_CFLAGS := -I$(LEPTON)/npu/emulator -I$(LEPTON)/boards/host -ffp-contract=off
LEPTON_HOST_BOARD := $(sort $(wildcard $(LEPTON)/boards/host/*.c $(LEPTON)/npu/emulator/*.c))
