// Testbench of the whole board: the top with GMII at its pins, and an interface to cocotb in frames of Ethernet.
//
// A frame is passed whole, with its preamble and check sequence, so that Python wakes once per frame. The gap between
// frames is the shortest that Ethernet allows.

module testbench (
    input  wire           clk,
    input  wire           ethernet_clk,
    input  wire           rst,
    input  wire [16383:0] send_bytes,      // the first byte in the lowest bits
    input  wire [11:0]    send_count,      // 1 to 2048
    input  wire           send_request,    // toggles to send
    output wire           send_done,       // follows the request after the last byte
    output wire [16383:0] received_bytes,
    output wire [11:0]    received_count,
    output wire           received_ready   // toggles when a frame has been received
);
    // As in testbench.v: nothing but ports is declared here.
    board board (
        .clk(clk), .ethernet_clk(ethernet_clk), .rst(rst),
        .send_bytes(send_bytes), .send_count(send_count), .send_request(send_request), .send_done(send_done),
        .received_bytes(received_bytes), .received_count(received_count), .received_ready(received_ready)
    );
endmodule

module board (
    input  wire           clk,
    input  wire           ethernet_clk,
    input  wire           rst,
    input  wire [16383:0] send_bytes,
    input  wire [11:0]    send_count,
    input  wire           send_request,
    output reg            send_done,
    output reg  [16383:0] received_bytes,
    output reg  [11:0]    received_count,
    output reg            received_ready
);
    localparam GAP = 12;

    reg reset, ethernet_reset;
    always @(posedge clk) reset <= rst;
    always @(posedge ethernet_clk) ethernet_reset <= rst;

    reg  [7:0] rx_data;
    reg        rx_valid;
    wire [7:0] tx_data;
    wire       tx_valid;

    top top (
        .clk(clk), .rst(reset), .ethernet_clk(ethernet_clk), .ethernet_rst(ethernet_reset),
        .rx_data(rx_data), .rx_valid(rx_valid), .rx_error(1'b0), .tx_data(tx_data), .tx_valid(tx_valid)
    );

    // To the board.
    reg [11:0] send_index;
    reg [3:0]  gap;
    reg        sending;

    always @(posedge ethernet_clk) begin
        if (rst) begin
            rx_valid <= 1'b0;
            sending <= 1'b0;
            send_done <= 1'b0;
            gap <= 4'd0;
        end else if (!sending) begin
            rx_valid <= 1'b0;
            if (gap != 4'd0)
                gap <= gap - 4'd1;
            else if (send_request != send_done) begin
                sending <= 1'b1;
                send_index <= 12'd0;
            end
        end else begin
            rx_valid <= 1'b1;
            rx_data <= send_bytes[8 * send_index[10:0] +: 8];
            send_index <= send_index + 12'd1;
            if (send_index + 12'd1 == send_count) begin
                sending <= 1'b0;
                send_done <= send_request;
                gap <= GAP - 2;
            end
        end
    end

    // From the board. Python reads a frame in the cycle of its end, before the next one overwrites it.
    reg [11:0] count;

    always @(posedge ethernet_clk) begin
        if (rst) begin
            count <= 12'd0;
            received_count <= 12'd0;
            received_ready <= 1'b0;
        end else if (tx_valid) begin
            received_bytes[8 * count[10:0] +: 8] <= tx_data;
            count <= count + 12'd1;
        end else if (count != 12'd0) begin
            received_count <= count;
            received_ready <= !received_ready;
            count <= 12'd0;
        end
    end
endmodule
