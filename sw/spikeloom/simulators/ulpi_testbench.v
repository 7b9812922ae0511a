// Testbench of the whole board: a PHY for high-speed USB at the ULPI pins of the top, and an interface to cocotb in
// packets. Python decides what is sent and when, and which level the line has; here are the signals of ULPI.

module testbench #(
    parameter PATIENCE = 102,  // cycles within which a packet of the device must begin
    parameter SYNC = 4         // cycles that SYNC takes
) (
    input  wire          clk,
    input  wire          ulpi_clk,
    input  wire          rst,
    input  wire [1:0]    line,             // level to report: 0 both low, 1 J, 2 K
    input  wire [4127:0] send_bytes,       // a packet of 1 to 515 bytes, the first one in the lowest bits
    input  wire [9:0]    send_count,
    input  wire          send_request,     // toggles to send
    output wire          send_done,        // follows the request after the end of the packet
    input  wire          receive_request,  // toggles to wait for a packet of the device
    output wire          receive_done,     // follows the request after its end, or if none has begun in time
    output wire [4127:0] received_bytes,
    output wire [9:0]    received_count,   // 0 if no packet has begun
    output wire [3:0]    chirps            // number of chirps of the device
);
    // As in testbench.v: nothing but ports is declared here.
    board #(.PATIENCE(PATIENCE), .SYNC(SYNC)) board (
        .clk(clk), .ulpi_clk(ulpi_clk), .rst(rst), .line(line),
        .send_bytes(send_bytes), .send_count(send_count), .send_request(send_request), .send_done(send_done),
        .receive_request(receive_request), .receive_done(receive_done),
        .received_bytes(received_bytes), .received_count(received_count), .chirps(chirps)
    );
endmodule

module board #(
    parameter PATIENCE = 102,
    parameter SYNC = 4
) (
    input  wire          clk,
    input  wire          ulpi_clk,
    input  wire          rst,
    input  wire [1:0]    line,
    input  wire [4127:0] send_bytes,
    input  wire [9:0]    send_count,
    input  wire          send_request,
    output reg           send_done,
    input  wire          receive_request,
    output reg           receive_done,
    output reg  [4127:0] received_bytes,
    output reg  [9:0]    received_count,
    output reg  [3:0]    chirps
);
    reg reset, ulpi_reset;
    always @(posedge clk) reset <= rst;
    always @(posedge ulpi_clk) ulpi_reset <= rst;

    reg  [7:0] to_device;
    wire [7:0] from_device;
    reg        dir, nxt;
    wire       stp;

    top top (
        .clk(clk), .rst(reset), .usb_clk(ulpi_clk), .usb_rst(ulpi_reset), .data_i(to_device), .data_o(from_device),
        .data_oe(), .dir(dir), .nxt(nxt), .stp(stp)
    );

    localparam IDLE = 4'd0, REPORT = 4'd1, REPORTED = 4'd2, START = 4'd3, ACTIVE = 4'd4, BYTES = 4'd5, END = 4'd6,
               COMMAND = 4'd7, VALUE = 4'd8, STOP = 4'd9, WAIT = 4'd10, PID = 4'd11, TAKE = 4'd12;
    localparam VBUS = 8'h0c, RX_ACTIVE = 8'h10;
    reg [3:0] state;
    reg [1:0] reported;
    reg [9:0] index;
    reg [6:0] patience;
    reg       complete;
    reg       is_chirp;

    always @(posedge ulpi_clk) begin
        if (rst) begin
            state <= IDLE;
            {dir, nxt} <= 2'b00;
            to_device <= 8'd0;
            reported <= 2'd0;
            send_done <= 1'b0;
            receive_done <= 1'b0;
            chirps <= 4'd0;
            complete <= 1'b0;
            patience <= PATIENCE;
        end else begin
            case (state)
                IDLE: begin
                    index <= 10'd0;
                    if (from_device[7:6] == 2'b10) begin
                        nxt <= 1'b1;
                        state <= COMMAND;
                    end else if (from_device[7:6] == 2'b01)
                        state <= WAIT;
                    else if (send_request != send_done) begin
                        {dir, nxt} <= 2'b11;
                        complete <= 1'b0;
                        state <= START;
                    end else if (line != reported) begin
                        dir <= 1'b1;
                        state <= REPORT;
                    end
                end
                // The level of the line, in an RXCMD.
                REPORT: begin
                    to_device <= VBUS | line;
                    reported <= line;
                    state <= REPORTED;
                end
                REPORTED: begin
                    dir <= 1'b0;
                    state <= IDLE;
                end
                // A packet to the device: RXCMDs before and after it, and a byte per cycle.
                START: begin
                    nxt <= 1'b0;
                    to_device <= VBUS | RX_ACTIVE | 8'd1;
                    index <= index + 10'd1;
                    if (index == SYNC) begin
                        index <= 10'd0;
                        state <= ACTIVE;
                    end
                end
                ACTIVE: begin
                    nxt <= 1'b1;
                    to_device <= send_bytes[8 * index +: 8];
                    index <= index + 10'd1;
                    if (index + 10'd1 == send_count)
                        state <= BYTES;
                end
                BYTES: begin
                    nxt <= 1'b0;
                    to_device <= VBUS;
                    state <= END;
                end
                END: begin
                    dir <= 1'b0;
                    reported <= 2'd0;
                    send_done <= send_request;
                    state <= IDLE;
                end
                // A register that the device writes.
                COMMAND: state <= VALUE;
                VALUE: begin
                    nxt <= 1'b0;
                    state <= STOP;
                end
                STOP: if (stp) state <= IDLE;
                // A packet of the device, or a chirp, which has no PID.
                WAIT: begin
                    index <= index + 10'd1;
                    if (index == SYNC) begin
                        nxt <= 1'b1;
                        is_chirp <= from_device[3:0] == 4'd0;
                        received_bytes[7:0] <= {~from_device[3:0], from_device[3:0]};
                        index <= 10'd1;
                        state <= PID;
                    end
                end
                PID: state <= TAKE;
                TAKE: begin
                    if (stp) begin
                        nxt <= 1'b0;
                        state <= IDLE;
                        complete <= !is_chirp;
                        received_count <= index;
                        if (is_chirp)
                            chirps <= chirps + 4'd1;
                    end else if (!is_chirp) begin
                        received_bytes[8 * index +: 8] <= from_device;
                        index <= index + 10'd1;
                    end
                end
            endcase
            if (receive_request == receive_done)
                patience <= PATIENCE;
            else if (complete) begin
                receive_done <= receive_request;
                complete <= 1'b0;
            end else if (state == IDLE && from_device[7:6] == 2'b00) begin
                patience <= patience - 7'd1;
                if (patience == 7'd0) begin
                    receive_done <= receive_request;
                    received_count <= 10'd0;
                end
            end
        end
    end
endmodule
