// Testbench of the whole board: the top with D+ and D- of full-speed USB at its pins, and an interface to cocotb in
// packets. Python decides what is sent and when; here are SYNC, NRZI, stuffed bits and the end of a packet.
//
// The clock of the bits has its edges at the falling edges of the device's clock of four times the rate.

module testbench #(
    parameter PATIENCE = 18   // bit times within which a packet of the device must begin
) (
    input  wire         clk,
    input  wire         usb_io_clk,
    input  wire         rst,
    input  wire         hold_reset,       // both lines low
    input  wire [535:0] send_bytes,       // a packet of 1 to 67 bytes, the first one in the lowest bits
    input  wire [6:0]   send_count,
    input  wire         send_request,     // toggles to send
    output wire         send_done,        // follows the request after the end of the packet
    input  wire         receive_request,  // toggles to wait for a packet of the device
    output wire         receive_done,     // follows the request after its end, or if none has begun in time
    output wire [535:0] received_bytes,
    output wire [6:0]   received_count    // 0 if no packet has begun
);
    // As in testbench.v: nothing but ports is declared here.
    board #(.PATIENCE(PATIENCE)) board (
        .clk(clk), .usb_io_clk(usb_io_clk), .rst(rst), .hold_reset(hold_reset),
        .send_bytes(send_bytes), .send_count(send_count), .send_request(send_request), .send_done(send_done),
        .receive_request(receive_request), .receive_done(receive_done),
        .received_bytes(received_bytes), .received_count(received_count)
    );
endmodule

module board #(
    parameter PATIENCE = 18
) (
    input  wire         clk,
    input  wire         usb_io_clk,
    input  wire         rst,
    input  wire         hold_reset,
    input  wire [535:0] send_bytes,
    input  wire [6:0]   send_count,
    input  wire         send_request,
    output reg          send_done,
    input  wire         receive_request,
    output reg          receive_done,
    output reg  [535:0] received_bytes,
    output reg  [6:0]   received_count
);
    reg [1:0] phase = 2'd0;
    always @(negedge usb_io_clk) phase <= phase + 2'd1;
    wire usb_clk = phase[1];

    reg reset, usb_reset, usb_io_reset;
    always @(posedge clk) reset <= rst;
    always @(posedge usb_clk) usb_reset <= rst;
    always @(posedge usb_io_clk) usb_io_reset <= rst;

    reg  to_dp, to_dn;
    wire from_dp, from_dn, from_device;

    top top (
        .clk(clk), .rst(reset), .usb_clk(usb_clk), .usb_rst(usb_reset), .usb_io_clk(usb_io_clk),
        .usb_io_rst(usb_io_reset), .dp_i(from_device ? from_dp : to_dp), .dn_i(from_device ? from_dn : to_dn),
        .dp_o(from_dp), .dn_o(from_dn), .oe(from_device), .\pullup ()  // a keyword of Verilog
    );

    // To the device: SYNC, the bits of the packet, two bits of both lines low, one bit of the idle level.
    localparam IDLE = 2'd0, SYNC = 2'd1, BITS = 2'd2, END = 2'd3;
    reg [1:0] state;
    reg [9:0] bit_index;
    reg [2:0] ones;
    wire      next_bit = state == SYNC ? bit_index == 10'd7 : send_bytes[bit_index] && ones != 3'd6;

    always @(posedge usb_clk) begin
        if (rst) begin
            state <= IDLE;
            send_done <= 1'b0;
            {to_dp, to_dn} <= 2'b10;
        end else if (state == IDLE) begin
            {to_dp, to_dn} <= hold_reset ? 2'b00 : 2'b10;
            bit_index <= 10'd0;
            ones <= 3'd0;
            if (send_request != send_done)
                state <= SYNC;
        end else if (state == END) begin
            bit_index <= bit_index + 10'd1;
            {to_dp, to_dn} <= bit_index == 10'd2 ? 2'b10 : 2'b00;
            if (bit_index == 10'd2) begin
                state <= IDLE;
                send_done <= send_request;
            end
        end else begin
            if (!next_bit)
                {to_dp, to_dn} <= ~{to_dp, to_dn};
            ones <= next_bit ? ones + 3'd1 : 3'd0;
            // A stuffed bit is a zero in addition to those of the packet.
            if (state == SYNC || ones != 3'd6)
                bit_index <= bit_index + 10'd1;
            if (state == SYNC && bit_index == 10'd7) begin
                state <= BITS;
                bit_index <= 10'd0;
            end else if (state == BITS && ones != 3'd6 && bit_index == 8 * send_count - 10'd1
                         && !(next_bit && ones == 3'd5)) begin
                state <= END;
                bit_index <= 10'd0;
            end else if (state == BITS && bit_index == 8 * send_count) begin
                // The packet ends with six ones: the stuffed bit was the last one.
                state <= END;
                bit_index <= 10'd0;
            end
        end
    end

    // From the device.
    reg       level, receiving, in_data, complete;
    reg [9:0] count;
    reg [2:0] equal;
    reg [5:0] patience;

    always @(posedge usb_clk) begin
        if (rst) begin
            receiving <= 1'b0;
            complete <= 1'b0;
            receive_done <= 1'b0;
            patience <= PATIENCE;
        end else begin
            if (!receiving) begin
                in_data <= 1'b0;
                count <= 10'd0;
                equal <= 3'd0;
                level <= from_dp;
                // Until the first zero of SYNC, the line may be driven at the idle level.
                receiving <= from_device && !from_dp && from_dn;
            end else if (!from_device || from_dp == from_dn) begin
                receiving <= 1'b0;
                complete <= 1'b1;
                if (count[2:0] != 3'd0 || !in_data)
                    $display("TESTBENCH ERROR: a packet of %d bits", count);
            end else begin
                level <= from_dp;
                equal <= from_dp == level ? equal + 3'd1 : 3'd0;
                if (equal == 3'd6) begin
                    if (from_dp == level)
                        $display("TESTBENCH ERROR: a bit is not stuffed");
                end else if (in_data) begin
                    received_bytes[count] <= from_dp == level;
                    count <= count + 10'd1;
                end else
                    in_data <= from_dp == level;
            end
            if (state == SYNC)
                complete <= 1'b0;
            if (receive_request == receive_done)
                patience <= PATIENCE;
            else if (complete && !receiving) begin
                receive_done <= receive_request;
                received_count <= count_of_packet;
                complete <= 1'b0;
            end else if (!receiving && !from_device) begin
                patience <= patience - 6'd1;
                if (patience == 6'd0) begin
                    receive_done <= receive_request;
                    received_count <= 7'd0;
                end
            end
        end
    end

    reg [6:0] count_of_packet;
    always @(posedge usb_clk)
        if (receiving)
            count_of_packet <= count[9:3];
endmodule
